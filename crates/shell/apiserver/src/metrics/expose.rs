//! `/metrics`: what is counted on this node, as Prometheus reads it. Entry point: [`answer`].

use std::fmt::Write;

use http::{HeaderValue, Response, header};

use crate::{Body, respond, server::Shared};

/// Media type of the text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Ticks a second in which Linux tells processor time to programs.
const TICKS: f64 = 100.0;

/// Answers `GET /metrics`.
pub(crate) fn answer(server: &Shared) -> Response<Body> {
    let mut text = String::new();
    server.meters().expose(&mut text);
    process(&mut text, &read("/proc/self/stat"), rustix::param::page_size() as u64);
    let mut response = respond::text(200, text);
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// The process itself, under the names that Prometheus' own clients use. Kernels of boards have pages of 4, 16 or 64 KiB.
fn process(out: &mut String, stat: &str, page_bytes: u64) {
    // The name, in parentheses, may have blanks of its own.
    let words: Vec<&str> = stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|it| it.parse::<u64>().ok());
    // Counted from the state, the third field: utime and stime, resident pages.
    let (Some(user), Some(system), Some(pages)) = (number(11), number(12), number(21)) else { return };
    let seconds = (user + system) as f64 / TICKS;
    let _ = writeln!(
        out,
        "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n\
         # TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {seconds}\n\
         # HELP process_resident_memory_bytes Resident memory size in bytes.\n\
         # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}",
        pages * page_bytes
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_its_time_and_memory() {
        for (page_bytes, resident) in [(4096, 1_228_800), (16_384, 4_915_200)] {
            let mut text = String::new();
            let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 100 4096000 300 0";
            process(&mut text, stat, page_bytes);
            assert!(text.contains("\nprocess_cpu_seconds_total 3\n"), "{text}");
            assert!(text.contains(&format!("\nprocess_resident_memory_bytes {resident}\n")), "{text}");
        }
        let mut nothing = String::new();
        process(&mut nothing, "", 4096);
        assert_eq!(nothing, "");
    }
}
