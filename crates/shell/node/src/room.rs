//! Keeps images from filling the disk, as the kubelet does: above a high mark unused ones go until it is below a low one.
//!
//! Start at [`run`]. Content that nothing refers to goes as well, whatever the disk's state.

use std::{path::Path, sync::Arc, time::Duration};

use crate::pods::Pods;

/// Between two looks, as the kubelet's.
const PERIOD: Duration = Duration::from_secs(300);
/// Used part of the disk above which images go, and to which they do, in percent; the kubelet's defaults.
const HIGH_PERCENT: u64 = 85;
const LOW_PERCENT: u64 = 80;

/// Free part below which the disk is short, in percent, as the kubelet's, and the bytes that are enough on any disk.
const SHORT_PERCENT: u64 = 10;
const ENOUGH_BYTES: u64 = 4 << 30;

/// Looks at the disk of `directory` from time to time, for as long as it is polled.
pub(crate) async fn run(pods: Arc<Pods>, directory: &Path) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let wanted = match surplus_of(directory) {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::warn!(%error, "asking for the free space of the disk");
                0
            }
        };
        match pods.images().collect(pods.images_in_use(), wanted).await {
            Ok(gone) if gone.files > 0 => tracing::info!(?gone, "removed images that nobody uses"),
            Ok(_) if wanted > 0 => tracing::warn!(wanted, "the disk is nearly full, and no image is unused"),
            Ok(_) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "removing unused images"),
        }
    }
}

/// Bytes that must go from the disk of `directory`; none while it is not nearly full. What nobody but the system's administrator
/// may fill is no part of it.
pub(crate) fn surplus_of(directory: &Path) -> rustix::io::Result<u64> {
    disk_of(directory).map(|(total, available)| surplus(total, available))
}

/// Whether the disk of `directory` has too little left for pods.
pub(crate) fn is_short(directory: &Path) -> rustix::io::Result<bool> {
    disk_of(directory).map(|(total, available)| is_little(total, available))
}

/// Bytes of a disk, and those of them that are available.
fn disk_of(directory: &Path) -> rustix::io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(directory)?;
    let reserved = disk.f_bfree.saturating_sub(disk.f_bavail);
    Ok((disk.f_blocks.saturating_sub(reserved) * disk.f_frsize, disk.f_bavail * disk.f_frsize))
}

fn is_little(total: u64, available: u64) -> bool {
    available < (total / 100 * SHORT_PERCENT).min(ENOUGH_BYTES)
}

/// Bytes that must go.
fn surplus(total: u64, available: u64) -> u64 {
    let percent = |share: u64| u64::try_from(u128::from(total) * u128::from(share) / 100).unwrap_or(u64::MAX);
    let used = total.saturating_sub(available);
    if used > percent(HIGH_PERCENT) { used - percent(LOW_PERCENT) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_short_by_its_size_unless_it_is_large() {
        const GIB: u64 = 1 << 30;
        assert!(is_little(10 * GIB, GIB / 2) && !is_little(10 * GIB, 2 * GIB));
        assert!(is_little(1000 * GIB, 3 * GIB) && !is_little(1000 * GIB, 5 * GIB));
        assert!(is_little(1 << 20, 0) && !is_little(0, 0));
    }

    #[test]
    fn nothing_goes_below_the_high_mark_and_much_above_it() {
        assert_eq!(surplus(1000, 200), 0);
        assert_eq!(surplus(1000, 150), 0);
        assert_eq!(surplus(1000, 149), 51);
        assert_eq!(surplus(1000, 0), 200);
        assert_eq!(surplus(0, 0), 0);
    }
}
