//! Patches apply or fail, whatever stands in them. Input: an object, a newline, a patch.
#![no_main]

use eyot_model::{
    kinds::builtin,
    patch::{self, PatchType},
    schema::parse,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut halves = bytes.splitn(2, |it| *it == b'\n');
    let (Some(object), Some(patch)) = (halves.next(), halves.next()) else { return };
    let (Ok((object, _)), Ok((patch, _))) = (parse(object), parse(patch)) else { return };
    let kind = builtin().by_plural("apps", "v1", "deployments").expect("built in");
    for patch_type in [PatchType::Json, PatchType::Merge, PatchType::Strategic] {
        let _ = patch::apply(kind, patch_type, &object, &patch);
    }
});
