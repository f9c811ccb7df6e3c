//! A body of any kind is decoded, completed, judged and shown, or refused.
#![no_main]

use eyot_model::{
    convert, defaults,
    kinds::builtin,
    prepare,
    schema::{FieldValidation, decode, parse},
    table, validate,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((object, duplicates)) = parse(bytes) else { return };
    let text = |field: &str| object.get(field).and_then(|it| it.as_str()).unwrap_or("");
    let Some(kind) = builtin().by_api_version(text("apiVersion"), text("kind")) else { return };
    let Ok(decoded) = decode(kind, object, duplicates, FieldValidation::Warn) else { return };
    let mut object = decoded.object;
    defaults::apply(kind, &mut object);
    defaults::admit(kind, &mut object);
    prepare::create(kind, &mut object, "u", Default::default());
    validate::check(kind, &object, Some(&object));
    table::render(kind, &[&object], Default::default(), table::Options::default());
    convert::from_stored(kind, convert::to_stored(kind, object));
});
