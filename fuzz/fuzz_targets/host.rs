//! Any text as the Host of a request, and as a host pattern of a route.
#![no_main]

use eyot_route::{HostPattern, canonical_host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let host = canonical_host(text);
    for one_label in [false, true] {
        let Ok(pattern) = HostPattern::parse(text, one_label) else { continue };
        pattern.matches(&host);
        assert_eq!(pattern.intersect(&pattern).as_ref(), Some(&pattern), "a pattern meets itself");
    }
});
