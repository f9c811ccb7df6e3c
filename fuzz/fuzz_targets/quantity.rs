//! Quantities parse or fail, and the canonical form is canonical.
#![no_main]

use eyot_model::quantity::canonical;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(once) = canonical(text) {
        assert_eq!(canonical(&once), Ok(once));
    }
});
