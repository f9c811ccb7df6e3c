//! A `wasi:http` component that calls the host in an order, and with arguments, that nobody would think of.
//!
//! Most handles are of the sort that is asked for, so that a guest comes far; some are of another sort, already given away, or
//! made up, and lengths and addresses are what they are.

use std::{collections::HashSet, fmt::Write};

use arbitrary::Unstructured;

/// Where results of several words go.
const AREA: u32 = 256;
/// Most calls of one guest.
const CALLS_MAX: usize = 60;

/// What a parameter is, or a result.
#[derive(Clone, Copy, PartialEq)]
enum Sort {
    /// A handle: in which local the newest of its sort is kept.
    Handle(&'static str),
    /// 0 or 1, mostly.
    Flag,
    /// Where text or a result area lies in memory.
    Address,
    /// How much.
    Length,
    /// The same of 64 bits.
    Long,
    /// A status code.
    Status,
}

use Sort::{Address, Flag, Handle, Length, Long, Status};

/// How a result comes back.
enum Gives {
    Nothing,
    /// As the core function's result.
    Core(&'static str),
    /// In memory, so far behind whether it is there.
    Memory(&'static str, u32),
    /// As a core result that says nothing.
    Word,
}

use Gives::{Core, Memory, Nothing, Word};

/// What `guests/http.wat` imports or has, with what they take and give. Area parameters are the last where there is one.
const FUNCTIONS: &[(&str, &[Sort], Gives)] = &[
    ("drop-output", &[Handle("out")], Nothing),
    ("drop-outparam", &[Handle("outparam")], Nothing),
    ("hello", &[Handle("outparam")], Nothing),
    ("sleep", &[Long], Core("pollable")),
    ("block", &[Handle("pollable")], Nothing),
    ("get-stderr", &[], Core("out")),
    ("read", &[Handle("in"), Long, Address], Nothing),
    ("write", &[Handle("out"), Address, Length, Address], Nothing),
    ("fields", &[], Core("fields")),
    ("append", &[Handle("fields"), Address, Length, Address, Length, Address], Nothing),
    ("consume", &[Handle("request"), Address], Memory("body", 4)),
    ("body-in", &[Handle("body"), Address], Memory("in", 4)),
    ("request", &[Handle("fields")], Core("outgoing")),
    ("set-scheme", &[Handle("outgoing"), Flag, Flag, Address, Length], Word),
    ("set-authority", &[Handle("outgoing"), Flag, Address, Length], Word),
    ("set-path", &[Handle("outgoing"), Flag, Address, Length], Word),
    ("send", &[Handle("outgoing"), Flag, Flag, Address], Memory("future", 8)),
    ("future-poll", &[Handle("future")], Core("pollable")),
    ("future-get", &[Handle("future"), Address], Nothing),
    ("response-consume", &[Handle("incoming"), Address], Memory("body", 4)),
    ("response", &[Handle("fields")], Core("response")),
    ("set-status", &[Handle("response"), Status], Word),
    ("body-out", &[Handle("response"), Address], Memory("out-body", 4)),
    ("body-write", &[Handle("out-body"), Address], Memory("out", 4)),
    ("finish", &[Handle("out-body"), Flag, Handle("fields"), Address], Nothing),
    ("set", &[Handle("outparam"), Flag, Handle("response"), Flag, Long, Flag, Address, Length, Flag], Nothing),
];

const LOCALS: [&str; 11] =
    ["out", "outparam", "pollable", "in", "fields", "request", "body", "outgoing", "future", "response", "out-body"];

/// What a call takes away from whoever makes it.
const TAKEN: &[(&str, &[&str])] = &[
    ("drop-output", &["out"]),
    ("drop-outparam", &["outparam"]),
    ("request", &["fields"]),
    ("send", &["outgoing"]),
    ("response", &["fields"]),
    ("finish", &["out-body", "fields"]),
    ("set", &["outparam", "response"]),
    ("hello", &["outparam"]),
];

/// How a handle is come by that is not there.
const MADE: &[(&str, &str)] = &[
    ("out", "(local.set $h-out (call $get-stderr))"),
    ("pollable", "(local.set $h-pollable (call $sleep (i64.const 1000)))"),
    ("fields", "(local.set $h-fields (call $fields))"),
    ("outgoing", "(local.set $h-outgoing (call $request (call $fields)))"),
    ("response", "(local.set $h-response (call $response (call $fields)))"),
];

/// The component for `bytes`, and the calls it makes.
pub(crate) fn caller(bytes: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut u = Unstructured::new(bytes);
    let mut calls = String::new();
    let mut there = HashSet::from(["request", "outparam"]);
    for _ in 0..u.int_in_range(1..=CALLS_MAX).ok()? {
        call(&mut u, &mut calls, &mut there).ok()?;
    }
    // The handler becomes one more function; what follows it takes the marker's place.
    let mut handle = String::from("(call $wild (local.get $request) (local.get $outparam)))\n");
    let locals: String = LOCALS.iter().map(|it| format!(" (local $h-{it} i32)")).collect();
    write!(handle, "(func $wild (param $r i32) (param $o i32) {locals} (local $h-incoming i32)").ok()?;
    handle += "(local.set $h-request (local.get $r)) (local.set $h-outparam (local.get $o))\n";
    handle += &calls;
    let text = include_str!("../guests/http.wat").replace(";;HANDLE;;", &handle);
    Some((wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{calls}")), calls))
}

/// Adds a call. `there` are the handles that the guest has, as far as it did what it should.
fn call(u: &mut Unstructured<'_>, out: &mut String, there: &mut HashSet<&'static str>) -> arbitrary::Result<()> {
    let (name, parameters, gives) = u.choose(FUNCTIONS)?;
    for sort in *parameters {
        let Handle(local) = sort else { continue };
        if there.contains(local) || u.ratio(1, 30)? {
            continue;
        }
        let Some((_, made)) = MADE.iter().find(|(it, _)| it == local) else { return Ok(()) };
        out.push_str(made);
        there.insert(*local);
    }
    let taken = TAKEN.iter().filter(|(it, _)| it == name).flat_map(|(_, taken)| *taken);
    for it in taken {
        there.remove(it);
    }
    if let Core(local) | Memory(local, _) = gives {
        there.insert(*local);
    }
    let mut call = format!("(call ${name}");
    let mut area = None;
    for (index, sort) in parameters.iter().enumerate() {
        let is_area = *sort == Address && index + 1 == parameters.len();
        // Mostly where its result can be found again.
        let argument = match is_area && u.ratio(9, 10)? {
            true => {
                area = Some(AREA);
                format!("(i32.const {AREA})")
            }
            false => argument(u, *sort)?,
        };
        call += " ";
        call += &argument;
    }
    call += ")";
    let call = match gives {
        Nothing => call,
        Word => format!("(drop {call})"),
        Core(local) => format!("(local.set $h-{local} {call})"),
        Memory(local, offset) => match area {
            Some(area) => format!("{call} (local.set $h-{local} (i32.load (i32.const {})))", area + offset),
            None => call,
        },
    };
    out.push_str(&call);
    out.push('\n');
    Ok(())
}

fn argument(u: &mut Unstructured<'_>, sort: Sort) -> arbitrary::Result<String> {
    let text = match sort {
        Handle(local) if u.ratio(29, 30)? => format!("(local.get $h-{local})"),
        Handle(_) if u.arbitrary()? => format!("(local.get $h-{})", u.choose(&LOCALS)?),
        Handle(_) => format!("(i32.const {})", u.choose(&[0, 1, 2, 3, 7, 1000, -1, i32::MIN])?),
        Flag => format!("(i32.const {})", u.choose(&[0, 0, 0, 1, 1, 1, 2, -1])?),
        Address => format!("(i32.const {})", u.choose(&[1024, 1040, 1072, 512, 0, 3, 65_528, 65_536, -1])?),
        Length => format!("(i32.const {})", u.choose(&[0, 1, 5, 12, 29, 4096, 60_000, 65_536, i32::MAX, -1])?),
        Long => format!("(i64.const {})", u.choose(&[0, 1, 1000, 4096, 32_768, 1_000_000, i64::MAX, -1])?),
        Status => format!("(i32.const {})", u.choose(&[200, 204, 304, 404, 100, 101, 0, 99, 1000, 65_535, -1])?),
    };
    Ok(text)
}
