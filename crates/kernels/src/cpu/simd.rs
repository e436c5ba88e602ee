//! Vectors of sixteen f32 on whatever the processor has, and the functions of one number that kernels need.
//!
//! Sixteen lanes everywhere, as one AVX-512 register, two AVX2 ones or four of NEON: sums along a row are then made in
//! the same order on all of them.

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use pulp::{Simd, WithSimd};

/// Lanes of a vector.
pub const LANES: usize = 16;

/// The instruction set that kernels run on.
#[derive(Debug, Clone, Copy)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// What the compiler makes of plain code: NEON on 64-bit Arm.
    Plain,
}

/// Runs a kernel on the best instruction set that the processor has.
///
/// The environment variable `TRIL_SIMD` (`avx512`, `avx2`, `plain`) names the best one to use, for comparisons: all
/// give the same bits.
#[inline(always)]
pub fn vectorized<K: WithSimd>(kernel: K) -> K::Output {
    match instructions() {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512(simd) => Simd::vectorize(simd, kernel),
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2(simd) => Simd::vectorize(simd, Doubled { kernel, simd: pulp::x86::V3_512b(simd) }),
        Instructions::Plain => Simd::vectorize(pulp::Scalar512b, kernel),
    }
}

/// A kernel that works on two AVX2 registers together. (pulp's own `vectorize` for these hands on single ones.)
#[cfg(target_arch = "x86_64")]
struct Doubled<K> {
    kernel: K,
    simd: pulp::x86::V3_512b,
}

#[cfg(target_arch = "x86_64")]
impl<K: WithSimd> WithSimd for Doubled<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> K::Output {
        self.kernel.with_simd(self.simd)
    }
}

/// Plain arithmetic on rows of numbers, of which the compiler makes vector code.
///
/// Its `run`, and all that it calls for a number, must be `#[inline(always)]`: what is not inlined is compiled for the plain
/// processor.
pub trait Arithmetic {
    /// What it computes.
    type Output;

    /// Computes it.
    fn run(self) -> Self::Output;
}

/// Runs arithmetic that is compiled for each instruction set, on the best that the processor has. All give the same bits, as
/// the compiler neither joins nor reorders operations on floats.
pub fn compiled_for_processor<A: Arithmetic>(arithmetic: A) -> A::Output {
    struct Plain<A>(A);

    impl<A: Arithmetic> WithSimd for Plain<A> {
        type Output = A::Output;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> A::Output {
            self.0.run()
        }
    }

    vectorized(Plain(arithmetic))
}

fn instructions() -> Instructions {
    static FOUND: OnceLock<Instructions> = OnceLock::new();
    *FOUND.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let best = std::env::var(VARIABLE).unwrap_or_default();
            let avx512 = pulp::x86::V4::try_new().filter(|_| best != "avx2" && best != "plain");
            let avx2 = pulp::x86::V3::try_new().filter(|_| best != "plain");
            if let Some(simd) = avx512 {
                return Instructions::Avx512(simd);
            }
            if let Some(simd) = avx2 {
                return Instructions::Avx2(simd);
            }
        }
        Instructions::Plain
    })
}

/// Names the best instruction set that kernels may use.
const VARIABLE: &str = "TRIL_SIMD";

/// The instruction set that the CPU's operations run on: `avx512`, `avx2`, or `plain` for what the compiler makes of
/// ordinary code (NEON on 64-bit Arm).
///
/// # Errors
/// The value of `TRIL_SIMD`, if it is none of the three.
pub fn instruction_set() -> Result<&'static str, String> {
    if let Ok(value) = std::env::var(VARIABLE)
        && !["", "avx512", "avx2", "plain"].contains(&value.as_str())
    {
        return Err(value);
    }
    Ok(match instructions() {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512(_) => "avx512",
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2(_) => "avx2",
        Instructions::Plain => "plain",
    })
}

/// Sets `$out` to an expression of vectors, sixteen numbers at a time; a tail is padded with zeros, so it goes through
/// the same instructions as the rest.
///
/// A macro, because a closure is compiled for the plain processor unless the compiler happens to inline it.
macro_rules! map {
    ($simd:expr, $out:expr, [$($value:ident in $input:expr),*], $body:expr) => {{
        let out: &mut [_] = $out;
        let len = out.len();
        $(assert_eq!($input.len(), len, "vectors of different lengths");)*
        let mut at = 0;
        while at < len {
            let end = len.min(at + $crate::cpu::simd::LANES);
            $(let $value = $crate::cpu::simd::load($simd, &$input[at..end]);)*
            $crate::cpu::simd::write($simd, &mut out[at..end], $body);
            at = end;
        }
    }};
}

/// The same with the old value of `$out` in the expression; there must be one.
macro_rules! update {
    ($simd:expr, $out:expr, $old:ident, [$($value:ident in $input:expr),*], $body:expr) => {{
        let out: &mut [f32] = $out;
        let len = out.len();
        $(assert_eq!($input.len(), len, "vectors of different lengths");)*
        let mut at = 0;
        while at < len {
            let end = len.min(at + $crate::cpu::simd::LANES);
            $(let $value = $crate::cpu::simd::load($simd, &$input[at..end]);)*
            let $old = $crate::cpu::simd::load($simd, &out[at..end]);
            $crate::cpu::simd::store($simd, &mut out[at..end], $body);
            at = end;
        }
    }};
}

/// The sum of an expression of vectors: lane l adds up the elements l, l + 16, …, then the upper half of the lanes is
/// added to the lower until one is left. Lanes past the end add nothing, whatever the
/// expression makes of zeros.
macro_rules! sum {
    ($simd:expr, [$($value:ident in $input:expr),*], $body:expr) => {{
        let len = [$($input.len()),*][0];
        $(assert_eq!($input.len(), len, "vectors of different lengths");)*
        let mut total = $simd.splat_f32s(0.0);
        let mut at = 0;
        while at + $crate::cpu::simd::LANES <= len {
            let end = at + $crate::cpu::simd::LANES;
            $(let $value = $crate::cpu::simd::load($simd, &$input[at..end]);)*
            total = $simd.add_f32s(total, $body);
            at = end;
        }
        if at < len {
            $(let $value = $crate::cpu::simd::load($simd, &$input[at..]);)*
            let tail = $crate::cpu::simd::first_lanes($simd, $body, len - at);
            total = $simd.add_f32s(total, tail);
        }
        $crate::cpu::simd::add_up($simd, total)
    }};
}

pub(crate) use {map, sum, update};

/// The first `count` lanes, zeros in the others.
#[inline(always)]
pub fn first_lanes<S: Simd>(simd: S, vector: S::f32s, count: usize) -> S::f32s {
    if masks_tails::<S>() {
        return first_lanes_or(simd, vector, count, 0.0);
    }
    let mut lanes = [0.0; LANES];
    store(simd, &mut lanes, vector);
    lanes[count..].fill(0.0);
    load(simd, &lanes)
}

/// The first `count` lanes, `other` in the others. Slow without masks.
#[inline(always)]
fn first_lanes_or<S: Simd>(simd: S, vector: S::f32s, count: usize, other: f32) -> S::f32s {
    const NUMBERS: [f32; LANES] =
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    let is_first = simd.less_than_f32s(load(simd, &NUMBERS), simd.splat_f32s(count as f32));
    simd.select_f32s(is_first, vector, simd.splat_f32s(other))
}

/// The sum of the lanes.
#[inline(always)]
pub fn add_up<S: Simd>(simd: S, vector: S::f32s) -> f32 {
    let mut lanes = [0.0; LANES];
    store(simd, &mut lanes, vector);
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest value; NaN if one is.
#[inline(always)]
pub fn max<S: Simd>(simd: S, values: &[f32]) -> f32 {
    // Which of several equal values is found makes no difference, so the order is free.
    let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
    // The instruction for the larger of two may lose a NaN, so those are kept beside.
    let mut not_numbers = simd.splat_f32s(0.0);
    let in_vectors = if masks_tails::<S>() { values.len() } else { values.len() - values.len() % LANES };
    let mut at = 0;
    while at < in_vectors {
        let end = in_vectors.min(at + LANES);
        let mut vector = load(simd, &values[at..end]);
        if end - at < LANES {
            vector = first_lanes_or(simd, vector, end - at, f32::NEG_INFINITY);
        }
        largest = simd.max_f32s(largest, vector);
        not_numbers = simd.select_f32s(simd.equal_f32s(vector, vector), not_numbers, vector);
        at = end;
    }
    let tail = &values[in_vectors..];
    if add_up(simd, not_numbers).is_nan() || tail.iter().any(|value| value.is_nan()) {
        return f32::NAN;
    }
    let mut lanes = [0.0; LANES];
    store(simd, &mut lanes, largest);
    if !masks_tails::<S>() {
        return lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |max, value| if *value > max { *value } else { max });
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = if lanes[lane + half] > lanes[lane] { lanes[lane + half] } else { lanes[lane] };
        }
        half /= 2;
    }
    lanes[0]
}

/// Sixteen values, or fewer and zeros.
#[inline(always)]
pub fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    const { assert!(S::F32_LANES == LANES, "kernels are written for sixteen lanes") };
    if values.len() == LANES {
        let (vectors, _) = S::as_simd_f32s(values);
        vectors[0]
    } else if masks_tails::<S>() {
        simd.partial_load_f32s(values)
    } else {
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        load(simd, &lanes)
    }
}

/// A number in memory, or the room for one.
///
/// # Safety
/// It must have the size and the alignment of an f32 and take all of its values.
pub unsafe trait Slot {}

// SAFETY: it is one.
unsafe impl Slot for f32 {}
// SAFETY: it is laid out as one.
unsafe impl Slot for MaybeUninit<f32> {}

/// Writes as many lanes as there is room for, whether or not numbers are there.
#[inline(always)]
pub fn write<S: Simd, T: Slot>(_: S, values: &mut [T], vector: S::f32s) {
    const { assert!(S::F32_LANES == LANES, "kernels are written for sixteen lanes") };
    if values.len() == LANES {
        // SAFETY: there is room for sixteen.
        unsafe { values.as_mut_ptr().cast::<S::f32s>().write_unaligned(vector) };
    } else {
        let mut lanes = [0.0f32; LANES];
        let count = values.len();
        // SAFETY: there is room for sixteen, and then for as many as are copied.
        unsafe {
            lanes.as_mut_ptr().cast::<S::f32s>().write_unaligned(vector);
            std::ptr::copy_nonoverlapping(lanes[..count].as_ptr(), values.as_mut_ptr().cast(), count);
        }
    }
}

/// Writes as many lanes as there is room for.
#[inline(always)]
pub fn store<S: Simd>(simd: S, values: &mut [f32], vector: S::f32s) {
    if values.len() == LANES {
        write(simd, values, vector);
    } else if masks_tails::<S>() {
        simd.partial_store_f32s(values, vector);
    } else {
        let mut lanes = [0.0; LANES];
        store(simd, &mut lanes, vector);
        values.copy_from_slice(&lanes[..values.len()]);
    }
}

/// Whether part of a vector can be read and written in one instruction. (pulp 0.22 has them for AVX2 too, but for two
/// registers together they read and write the wrong elements.)
#[inline(always)]
const fn masks_tails<S: Simd>() -> bool {
    S::REGISTER_COUNT >= 32
}

/// eˣ within two units in the last place; 0 below −87, where the result would be subnormal, and ∞ above 88.7.
///
/// x = n·ln 2 + r with |r| ≤ ½ ln 2; the polynomial for eʳ is that of Cephes' expf (Moshier 1989); 2ⁿ goes into the
/// exponent.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Adding it rounds to an integer and leaves that integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-87.0)), simd.splat_f32s(88.7));
    let shifted = simd.mul_add_f32s(clamped, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(ROUND));
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-LN_2_HIGH), clamped);
    let r = simd.mul_add_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let mut poly = simd.splat_f32s(1.987_569_2e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        poly = simd.mul_add_f32s(poly, r, simd.splat_f32s(coefficient));
    }
    let power = simd.add_f32s(simd.mul_add_f32s(poly, simd.mul_f32s(r, r), r), simd.splat_f32s(1.0));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scaled = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(power), exponent));
    let scaled = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(-87.0)), simd.splat_f32s(0.0), scaled);
    let scaled =
        simd.select_f32s(simd.greater_than_f32s(x, simd.splat_f32s(88.7)), simd.splat_f32s(f32::INFINITY), scaled);
    simd.select_f32s(simd.equal_f32s(x, x), scaled, x)
}

/// The logistic function, 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}
