//! The kernels: integers (SHA-256), bytes and branches (JSON), floating point (a product of matrices).
//!
//! Each gives a number that depends on all it computed, so that nothing of it can be left out and two builds can be compared.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// What one kernel does `rounds` times.
pub(crate) type Kernel = fn(rounds: u32) -> u64;

/// Name, kernel, rounds.
pub(crate) const ALL: [(&str, Kernel, u32); 3] = [("sha256", sha256, 64), ("json", json, 400), ("matrix", matrix, 24)];

/// Result and shortest time of five.
pub(crate) fn timed(kernel: Kernel, rounds: u32) -> (u64, Duration) {
    let mut best = Duration::MAX;
    let mut result = 0;
    for _ in 0..5 {
        let started = Instant::now();
        result = kernel(black_box(rounds));
        best = best.min(started.elapsed());
    }
    (result, best)
}

/// SHA-256 over 64 KiB, each round over the digest of the one before.
pub(crate) fn sha256(rounds: u32) -> u64 {
    const BYTES: usize = 64 << 10;
    let constants = constants();
    let mut message = vec![0x5a; BYTES];
    // The end that the standard asks for: one bit, zeros, and the length in bits.
    message.push(0x80);
    message.resize(BYTES + 56, 0);
    message.extend_from_slice(&(BYTES as u64 * 8).to_be_bytes());
    let mut state = [0u32; 8];
    for _ in 0..rounds {
        state =
            [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
        for block in message.chunks_exact(64) {
            compress(&constants, &mut state, block);
        }
        for (to, word) in message.chunks_exact_mut(4).zip(state) {
            to.copy_from_slice(&word.to_be_bytes());
        }
    }
    u64::from(state[0]) << 32 | u64::from(state[7])
}

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
fn constants() -> [u32; 64] {
    let mut found = [0; 64];
    let primes = (2u64..).filter(|n| (2..*n).take_while(|it| it * it <= *n).all(|it| n % it != 0));
    for (to, prime) in found.iter_mut().zip(primes) {
        *to = ((prime as f64).cbrt().fract() * 4_294_967_296.0) as u32;
    }
    found
}

fn compress(constants: &[u32; 64], state: &mut [u32; 8], block: &[u8]) {
    let mut words = [0u32; 64];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for at in 16..64 {
        let (a, b) = (words[at - 15], words[at - 2]);
        let small = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
        let large = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
        words[at] = words[at - 16].wrapping_add(small).wrapping_add(words[at - 7]).wrapping_add(large);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (word, constant) in words.iter().zip(constants) {
        let one = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let first = h.wrapping_add(one).wrapping_add(choice).wrapping_add(*constant).wrapping_add(*word);
        let zero = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let second = zero.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(first), c, b, a, first.wrapping_add(second));
    }
    for (to, by) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *to = to.wrapping_add(by);
    }
}

/// A document of 200 objects read and written again.
pub(crate) fn json(rounds: u32) -> u64 {
    let entry = |n: u32| {
        format!(
            r#"{{"id":{n},"name":"part {n}","tags":["a","b\n","\u00e9"],"price":{}.25,"stock":{},"of":null}}"#,
            n * 3,
            n.is_multiple_of(2)
        )
    };
    let mut text = format!("[{}]", (0..200).map(entry).collect::<Vec<_>>().join(","));
    for _ in 0..rounds {
        let value = Reader { rest: text.as_bytes() }.value();
        text.clear();
        value.write(&mut text);
    }
    text.bytes().fold(0, |sum, it| sum.wrapping_mul(31).wrapping_add(u64::from(it)))
}

enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// Reads what [`json`] wrote; anything else stops it early.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    fn value(&mut self) -> Value {
        match self.rest.first() {
            Some(b'{') => Value::Object(self.list(b'}', |it| {
                it.next();
                let name = it.text();
                it.next();
                (name, it.value())
            })),
            Some(b'[') => Value::List(self.list(b']', Reader::value)),
            Some(b'"') => {
                self.next();
                Value::Text(self.text())
            }
            Some(b't') => self.word(4, Value::Bool(true)),
            Some(b'f') => self.word(5, Value::Bool(false)),
            Some(b'n') => self.word(4, Value::Null),
            _ => {
                let end = self.rest.iter().position(|it| !b"+-.0123456789eE".contains(it)).unwrap_or(self.rest.len());
                let (digits, rest) = self.rest.split_at(end);
                self.rest = rest;
                Value::Number(std::str::from_utf8(digits).ok().and_then(|it| it.parse().ok()).unwrap_or(0.0))
            }
        }
    }

    fn word(&mut self, bytes: usize, value: Value) -> Value {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        value
    }

    fn list<T>(&mut self, end: u8, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        self.next();
        let mut out = Vec::new();
        while !self.rest.is_empty() {
            out.push(item(self));
            if self.next() == end {
                break;
            }
        }
        out
    }

    fn text(&mut self) -> String {
        let mut out = Vec::new();
        loop {
            match self.next() {
                b'"' | 0 => return String::from_utf8_lossy(&out).into_owned(),
                b'\\' => match self.next() {
                    b'n' => out.push(b'\n'),
                    b'u' => {
                        let code =
                            (0..4).fold(0, |code, _| code * 16 + (self.next() as char).to_digit(16).unwrap_or(0));
                        let letter = char::from_u32(code).unwrap_or('?');
                        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    other => out.push(other),
                },
                other => out.push(other),
            }
        }
    }
}

impl Value {
    fn write(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
            Value::Number(it) => out.push_str(&it.to_string()),
            Value::Text(it) => quote(it, out),
            Value::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Value::Object(fields) => {
                out.push('{');
                for (at, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    quote(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

/// Products of two matrices of 160 × 160 numbers.
pub(crate) fn matrix(rounds: u32) -> u64 {
    const SIZE: usize = 160;
    let cell = |at: usize| ((at * 7919) % 1000) as f64 / 1000.0;
    let left: Vec<f64> = (0..SIZE * SIZE).map(cell).collect();
    let mut right: Vec<f64> = (0..SIZE * SIZE).map(|at| cell(at + 13)).collect();
    for _ in 0..rounds {
        let mut product = vec![0.0; SIZE * SIZE];
        for row in 0..SIZE {
            for inner in 0..SIZE {
                let factor = left[row * SIZE + inner];
                for column in 0..SIZE {
                    product[row * SIZE + column] += factor * right[inner * SIZE + column];
                }
            }
        }
        // Kept small, and exact enough to be the same everywhere.
        right = product.iter().map(|it| (it / 80.0).fract()).collect();
    }
    right.iter().fold(0u64, |sum, it| sum.wrapping_add(it.to_bits() >> 20))
}
