//! Any schema prunes, fills and judges any object, twice as once. Input: a schema, a newline, an object; the first half
//! is also tried as a JSON path and as a pattern.
#![no_main]

use eyot_model::{
    custom::{
        default,
        path::Path,
        prune,
        schema::{Schema, pattern::Pattern},
        value,
    },
    schema::parse,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut halves = bytes.splitn(2, |it| *it == b'\n');
    let (Some(schema), Some(object)) = (halves.next(), halves.next()) else { return };
    let Ok((mut object, _)) = parse(object) else { return };
    if let Ok(text) = std::str::from_utf8(schema) {
        if let Ok(path) = Path::parse(text) {
            path.find(&object);
        }
        Pattern::new(text).matches(&object.to_string());
    }
    let Ok((schema, _)) = parse(schema) else { return };
    let schema = Schema::parse(&schema);
    prune::prune(&mut object, &schema);
    let pruned = object.clone();
    assert!(prune::prune(&mut object, &schema).is_empty());
    assert_eq!(object, pruned);
    value::check(&object, None, &schema);
    assert!(value::check(&object, Some(&object), &schema).is_empty());
    default::fill(&mut object, &schema);
    value::check(&object, Some(&pruned), &schema);
});
