//! `data` as one document: what the request brought, and what rules make.

use std::collections::BTreeSet;

use super::{Each, Eval, Res};
use crate::ir::{GroupKind, Node, Tree};
use crate::value::Value;

impl<'p> Eval<'p> {
    /// Calls `each` with every part of data that `path` leads to from a place that has rules (`tree`), given data
    /// (`base`), or both.
    pub(super) fn data(
        &mut self,
        tree: Option<&'p Tree>,
        base: Option<Value>,
        path: &'p [Node],
        each: Each<'_, 'p>,
    ) -> Res<bool> {
        let Some(tree) = tree else {
            return match base {
                Some(base) => self.walk_path(&base, path, each),
                None => Ok(true),
            };
        };
        if let Some(group) = tree.group {
            return match self.group(group)? {
                Some(value) => self.walk_path(&value, path, each),
                None => Ok(true),
            };
        }
        let Some((first, rest)) = path.split_first() else {
            return match self.document(Some(tree), base)? {
                Some(value) => each(self, &value),
                None => Ok(true),
            };
        };
        if !self.open(first) {
            let Some(key) = self.value(first)? else { return Ok(true) };
            let base = base.as_ref().and_then(|base| base.get(&key)).cloned();
            return self.data(tree.children.get(&key), base, rest, each);
        }
        let mut keys: BTreeSet<Value> = tree.children.keys().cloned().collect();
        if let Some(Value::Object(fields)) = &base {
            self.charge(fields.len() * size_of::<Value>(), first.position)?;
            keys.extend(fields.keys().cloned());
        }
        for key in keys {
            self.tick(first.position)?;
            let mark = self.trail.len();
            let more = if self.bind(first, &key)? {
                let base = base.as_ref().and_then(|base| base.get(&key)).cloned();
                self.data(tree.children.get(&key), base, rest, each)?
            } else {
                true
            };
            self.undo(mark);
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Everything at a place: given data with what rules make laid over it.
    pub(super) fn document(&mut self, tree: Option<&'p Tree>, base: Option<Value>) -> Res<Option<Value>> {
        let Some(tree) = tree else { return Ok(base) };
        if let Some(group) = tree.group {
            let function = matches!(self.program.groups[group as usize].kind, GroupKind::Function(_));
            return if function { Ok(base) } else { self.group(group) };
        }
        let mut out = match base {
            Some(base @ Value::Object(_)) => base,
            _ => Value::object([]),
        };
        for (key, child) in &tree.children {
            let below = out.get(key).cloned();
            if let Some(value) = self.document(Some(child), below)?
                && let Value::Object(fields) = &mut out
            {
                std::sync::Arc::make_mut(fields).insert(key.clone(), value);
            }
        }
        Ok(Some(out))
    }
}
