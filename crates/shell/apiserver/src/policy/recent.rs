//! Lists of parsed objects, kept for as long as nothing of their resource changes. Entry point: [`Recent::get`].
//!
//! Policies that compare an object with all others would parse the same ones at every request. What is kept is never out of
//! date: it goes by the revision at which the resource last changed.

use std::sync::Arc;

use eyot_store::Revision;
use parking_lot::Mutex;
use serde_json::Value;

/// Objects kept in all lists together; each takes a few KiB.
const OBJECTS_MAX: usize = 1_024;

/// What was listed, and as of which change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) storage: String,
    pub(super) api_version: String,
    /// `None` for all.
    pub(super) namespace: Option<String>,
    /// When the resource last changed.
    pub(super) changed: Revision,
    /// When the definition of a custom kind last changed: what is read depends on it.
    pub(super) definition: u64,
}

impl Listed {
    /// Whether it is the same list, as of any change.
    fn is_of(&self, other: &Listed) -> bool {
        (&self.storage, &self.api_version, &self.namespace) == (&other.storage, &other.api_version, &other.namespace)
    }
}

/// The lists that were asked for lately, the newest last.
#[derive(Default)]
pub(super) struct Recent(Mutex<Vec<(Listed, Objects)>>);

type Objects = Arc<[Arc<Value>]>;

impl Recent {
    /// A list as it is kept, or as `read` makes it.
    pub(super) fn get<E>(
        &self,
        listed: Listed,
        read: impl FnOnce() -> Result<Vec<Arc<Value>>, E>,
    ) -> Result<Vec<Arc<Value>>, E> {
        let known = self.0.lock().iter().find(|it| it.0 == listed).map(|it| it.1.clone());
        if let Some(known) = known {
            return Ok(known.to_vec());
        }
        // Outside of the lock: reading takes its time, and two who read the same come to the same.
        let objects = read()?;
        let mut lists = self.0.lock();
        lists.retain(|it| !it.0.is_of(&listed));
        if objects.len() <= OBJECTS_MAX {
            lists.push((listed, objects.as_slice().into()));
        }
        // An empty list counts as well, so that their number has an end.
        while lists.iter().map(|it| it.1.len() + 1).sum::<usize>() > OBJECTS_MAX + 1 {
            lists.remove(0);
        }
        Ok(objects)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn listed(storage: &str, changed: u64) -> Listed {
        Listed {
            storage: storage.to_owned(),
            api_version: "v1".to_owned(),
            namespace: None,
            changed: Revision(changed),
            definition: 0,
        }
    }

    #[test]
    fn a_list_is_read_again_when_its_resource_changed_and_old_ones_go() {
        let recent = Recent::default();
        let read = |storage: &str, changed: u64, count: usize| {
            let mut was_read = false;
            let objects = recent.get(listed(storage, changed), || {
                was_read = true;
                Ok::<_, Infallible>((0..count).map(|_| Arc::new(Value::Null)).collect())
            });
            assert_eq!(objects.map(|it| it.len()), Ok(count));
            was_read
        };
        assert!(read("/pods", 1, 10) && !read("/pods", 1, 10));
        assert!(read("/pods", 2, 11) && !read("/pods", 2, 11));
        assert!(read("/maps", 2, OBJECTS_MAX), "it takes all the room");
        assert!(read("/pods", 2, 11), "what was there before it is gone");
        assert!(read("/huge", 1, OBJECTS_MAX + 1) && read("/huge", 1, OBJECTS_MAX + 1), "too many are not kept");
        assert!(!read("/pods", 2, 11));
    }
}
