//! How a rate grows with threads, after each number of them has been measured.

use std::io::Write;

use crate::quantity::grouped;

/// Rows of threads, tokens a second, how many times the first row's that is and the part of what as many threads could be,
/// and the share of the work that is not split.
pub fn write(rates: &[(usize, f64)], out: &mut impl Write) -> std::io::Result<()> {
    let (first_threads, first) = rates[0];
    writeln!(out, "\nthreads   tokens/s     times   efficiency")?;
    for (threads, rate) in rates {
        let times = rate / first;
        let efficiency = 100.0 * times * first_threads as f64 / *threads as f64;
        writeln!(out, "{threads:>7} {:>10} {times:>8.2}× {efficiency:>10.0} %", grouped(*rate))?;
    }
    if let Some((threads, share)) = not_split(rates) {
        let percent = 100.0 * share;
        writeln!(out, "by one thread and {threads}, {percent:.0} % of the work is not split (Amdahl's law)")?;
    }
    Ok(())
}

/// The most threads, and the share of one thread's time that does not shrink with more, s in 1 / (s + (1 − s) / n)
/// (Amdahl 1967), by that row; none without a row of one thread.
fn not_split(rates: &[(usize, f64)]) -> Option<(usize, f64)> {
    let (_, alone) = rates.iter().find(|(threads, _)| *threads == 1)?;
    let (threads, rate) = rates.iter().max_by_key(|(threads, _)| *threads).filter(|(threads, _)| *threads > 1)?;
    let count = *threads as f64;
    Some((*threads, ((count / (rate / alone) - 1.0) / (count - 1.0)).clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_not_split_is_that_of_amdahls_law() {
        let rate = |threads: usize| (threads, 100.0 / (0.2 + 0.8 / threads as f64));
        let (threads, share) = not_split(&[rate(1), rate(2), rate(4)]).expect("a share");
        assert!(threads == 4 && (share - 0.2).abs() < 1e-12, "{threads} {share}");
        assert_eq!(not_split(&[(1, 100.0), (2, 210.0)]), Some((2, 0.0)), "more than twice as fast by chance");
        assert_eq!(not_split(&[(2, 100.0), (4, 200.0)]), None);
    }

    #[test]
    fn a_table_says_how_far_threads_help() {
        let mut out = Vec::new();
        write(&[(1, 1000.0), (2, 1800.0)], &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.contains("2      1,800     1.80×         90 %"), "{text}");
        assert!(text.contains("11 % of the work is not split"), "{text}");
    }
}
