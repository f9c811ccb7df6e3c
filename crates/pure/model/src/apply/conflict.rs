//! Fields that an applied configuration would take from somebody. Entry point: [`find`].

use super::{
    element::{Path, shown},
    managed::Entry,
    update::Changes,
};
use crate::status::{ApiError, Cause, CauseReason, Reason};

/// One field that somebody else owns and an applied configuration would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner as messages name it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// The field.
    pub path: Path,
}

/// The conflicts between what changes and what `entries` own.
pub(super) fn find(changes: &mut Changes<'_>, entries: &[Entry]) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for entry in entries {
        let Some(change) = changes.at(&entry.api_version) else { continue };
        let mut taken = change.written();
        taken.intersect(&entry.fields);
        conflicts.extend(taken.paths().into_iter().map(|path| Conflict { manager: entry.shown(), path }));
    }
    conflicts.sort_by(|a, b| (&a.manager, &a.path).cmp(&(&b.manager, &b.path)));
    conflicts
}

/// 409 with a cause for each field.
pub(super) fn status(conflicts: &[Conflict]) -> ApiError {
    let message = match conflicts {
        [only] => format!("Apply failed with 1 conflict: conflict with {}: {}", only.manager, shown(&only.path)),
        all => {
            let mut lines = Vec::new();
            let mut manager = "";
            for conflict in all {
                if manager != conflict.manager {
                    manager = &conflict.manager;
                    lines.push(format!("conflicts with {manager}:"));
                }
                lines.push(format!("- {}", shown(&conflict.path)));
            }
            format!("Apply failed with {} conflicts: {}", all.len(), lines.join("\n"))
        }
    };
    let mut error = ApiError::new(409, Reason::Conflict, message);
    error.details.causes = conflicts
        .iter()
        .map(|it| Cause {
            reason: CauseReason::FieldManagerConflict,
            message: format!("conflict with {}", it.manager),
            field: shown(&it.path),
        })
        .collect();
    error
}
