//! Vectors of sixteen f32 on whatever the processor has, and the functions of one number that kernels need.
//!
//! Sixteen lanes everywhere, as one AVX-512 register, two AVX2 ones or four of NEON: sums along a row are then made in
//! the same order on all of them.

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
        Instructions::Avx2(simd) => Simd::vectorize(pulp::x86::V3_512b(simd), kernel),
        Instructions::Plain => Simd::vectorize(pulp::Scalar512b, kernel),
    }
}

fn instructions() -> Instructions {
    static FOUND: OnceLock<Instructions> = OnceLock::new();
    *FOUND.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let wanted = std::env::var("TRIL_SIMD").unwrap_or_default();
            let avx512 = pulp::x86::V4::try_new().filter(|_| wanted != "avx2" && wanted != "plain");
            let avx2 = pulp::x86::V3::try_new().filter(|_| wanted != "plain");
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

/// Calls `body` with sixteen values of each of `inputs` and of `out` at a time; a tail is padded with zeros, so it goes
/// through the same instructions as the rest.
#[inline(always)]
pub fn map<S: Simd, const N: usize>(
    simd: S,
    inputs: [&[f32]; N],
    out: &mut [f32],
    body: impl Fn([S::f32s; N]) -> S::f32s,
) {
    let len = out.len();
    assert!(inputs.iter().all(|input| input.len() == len), "vectors of different lengths");
    let mut at = 0;
    while at + LANES <= len {
        let values = inputs.map(|input| load(simd, &input[at..at + LANES]));
        store(simd, &mut out[at..at + LANES], body(values));
        at += LANES;
    }
    if at < len {
        let values = inputs.map(|input| load(simd, &input[at..]));
        store(simd, &mut out[at..], body(values));
    }
}

/// The sum over i of `body(inputs[…][i])`: lane l adds up the elements l, l + 16, …, then the upper half of the lanes
/// is added to the lower until one is left.
#[inline(always)]
pub fn sum<S: Simd, const N: usize>(simd: S, inputs: [&[f32]; N], body: impl Fn([S::f32s; N]) -> S::f32s) -> f32 {
    let len = inputs[0].len();
    let mut total = simd.splat_f32s(0.0);
    let mut at = 0;
    while at + LANES <= len {
        let values = inputs.map(|input| load(simd, &input[at..at + LANES]));
        total = simd.add_f32s(total, body(values));
        at += LANES;
    }
    if at < len {
        // Lanes past the end must add nothing, whatever the body makes of zeros.
        let mut tail = [0.0; LANES];
        store(simd, &mut tail, body(inputs.map(|input| load(simd, &input[at..]))));
        tail[len - at..].fill(0.0);
        total = simd.add_f32s(total, load(simd, &tail));
    }
    let mut lanes = [0.0; LANES];
    store(simd, &mut lanes, total);
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
pub fn max<S: Simd>(_simd: S, values: &[f32]) -> f32 {
    // Which of several equal values is found makes no difference, so the order is free.
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut nan = [false; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
            nan[lane] |= chunk[lane].is_nan();
        }
    }
    for (lane, value) in chunks.remainder().iter().enumerate() {
        lanes[lane] = if *value > lanes[lane] { *value } else { lanes[lane] };
        nan[lane] |= value.is_nan();
    }
    if nan.contains(&true) { f32::NAN } else { lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max) }
}

/// Sixteen values, or fewer and zeros.
#[inline(always)]
pub fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    if values.len() == LANES {
        let (vectors, _) = S::as_simd_f32s(values);
        vectors[0]
    } else {
        simd.partial_load_f32s(values)
    }
}

/// Writes as many lanes as there is room for.
#[inline(always)]
pub fn store<S: Simd>(simd: S, values: &mut [f32], vector: S::f32s) {
    if values.len() == LANES {
        let (vectors, _) = S::as_mut_simd_f32s(values);
        vectors[0] = vector;
    } else {
        simd.partial_store_f32s(values, vector);
    }
}

/// eˣ within two units in the last place; 0 below −87, where the result would be subnormal.
///
/// x = n·ln 2 + r with |r| ≤ ½ ln 2; the polynomial for eʳ is that of Cephes' expf (Moshier 1989); 2ⁿ goes into the
/// exponent.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Adding it rounds to an integer and leaves that integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let splat = |value| simd.splat_f32s(value);
    let clamped = simd.min_f32s(simd.max_f32s(x, splat(-87.0)), splat(88.7));
    let shifted = simd.mul_add_f32s(clamped, splat(std::f32::consts::LOG2_E), splat(ROUND));
    let n = simd.sub_f32s(shifted, splat(ROUND));
    let r = simd.mul_add_f32s(n, splat(-LN_2_HIGH), clamped);
    let r = simd.mul_add_f32s(n, splat(-LN_2_LOW), r);
    let mut poly = splat(1.987_569_2e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        poly = simd.mul_add_f32s(poly, r, splat(coefficient));
    }
    let power = simd.add_f32s(simd.mul_add_f32s(poly, simd.mul_f32s(r, r), r), splat(1.0));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scaled = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(power), exponent));
    let scaled = simd.select_f32s(simd.less_than_f32s(x, splat(-87.0)), splat(0.0), scaled);
    let scaled = simd.select_f32s(simd.greater_than_f32s(x, splat(88.7)), splat(f32::INFINITY), scaled);
    simd.select_f32s(simd.equal_f32s(x, x), scaled, x)
}

/// The logistic function, 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}
