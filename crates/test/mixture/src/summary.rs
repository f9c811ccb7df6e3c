//! Quantiles. Entry point: [`summary`].

/// The median and the 99th percentile of samples, which are sorted.
pub fn summary(samples: &mut [f64]) -> (f64, f64) {
    samples.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len().max(1) - 1) as f64 * share) as usize];
    if samples.is_empty() { (0.0, 0.0) } else { (at(0.5), at(0.99)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_samples() {
        let mut samples: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(summary(&mut samples), (50.0, 99.0));
        assert_eq!(summary(&mut []), (0.0, 0.0));
    }
}
