//! Field sets are read and written alike, and configurations apply or fail, whatever stands in them. Input: an object
//! (also tried as a field set), a newline, a configuration.
#![no_main]

use eyot_model::{
    apply::{Set, Writer, apply, canonical, track},
    kinds::builtin,
    schema::parse,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut halves = bytes.splitn(2, |it| *it == b'\n');
    let (Some(live), Some(config)) = (halves.next(), halves.next()) else { return };
    let (Ok((live, _)), Ok((config, _))) = (parse(live), parse(config)) else { return };
    if let Ok(set) = Set::parse(&live) {
        assert_eq!(Set::parse(&set.to_value()), Ok(set));
    }
    let kind = builtin().by_plural("apps", "v1", "deployments").expect("built in");
    let writer = Writer { manager: "fuzz", subresource: "", now: Default::default() };
    let live = Some(&live).filter(|it| it.is_object());
    let Ok(config) = canonical(kind, config) else { return };
    if let Ok(mut applied) = apply(builtin(), kind, &writer, live, &config, true) {
        let _ = track(builtin(), kind, &writer, live, &mut applied);
    }
});
