//! Reads tar streams, plain or gzip. Start at [`find`], which takes one file out, or [`each`].
//!
//! Knows ustar, GNU long names and pax paths. Nothing is written anywhere, so names in an archive can do no harm here.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Most bytes of a layer that are read, after decompression: more is a bomb, or no place for one small program.
const LAYER_BYTES_MAX: u64 = 4 << 30;
/// Longest name record.
const NAME_BYTES_MAX: u64 = 64 << 10;
const BLOCK: usize = 512;

/// What a layer says about a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<T> {
    /// The file is here.
    File(T),
    /// The layer removes what lower layers put there.
    Removed,
    /// The layer has nothing to say.
    Nothing,
}

/// One entry of an archive.
pub(crate) struct Entry<'a> {
    /// Its path, as it is written there.
    pub(crate) name: &'a str,
    /// Its type, as tar writes it.
    pub(crate) kind: u8,
    /// Bytes of its content.
    pub(crate) size: u64,
    /// Permissions and more.
    pub(crate) mode: u32,
    /// What it links to.
    pub(crate) link: &'a str,
}

/// Looks for `path` in a layer; `take` gets the content, of the size given.
pub(crate) fn find<T>(
    layer: impl Read,
    path: &str,
    mut take: impl FnMut(u64, &mut dyn Read) -> io::Result<T>,
) -> io::Result<Found<T>> {
    let removals = removals(path);
    let mut found = Found::Nothing;
    each(layer, |entry, body| {
        let name = entry.name.trim_start_matches("./").trim_start_matches('/');
        if name == path && matches!(entry.kind, b'0' | 0) {
            found = Found::File(take(entry.size, body)?);
        } else if name == path && matches!(entry.kind, b'1' | b'2') {
            return Err(invalid(format!("{path} is a link")));
        } else if removals.iter().any(|it| it == name) && matches!(found, Found::Nothing) {
            found = Found::Removed;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Hands over the entries of a layer in order, each with its content, which need not be read.
pub(crate) fn each(
    layer: impl Read,
    mut on: impl FnMut(&Entry<'_>, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut tar = decompress(BufReader::with_capacity(64 << 10, layer))?.take(LAYER_BYTES_MAX);
    let (mut long_name, mut long_link) = (None, None);
    while let Some(header) = Header::read(&mut tar)? {
        let mut body = (&mut tar).take(header.size);
        match header.kind {
            b'L' => long_name = Some(text(&mut body)?.trim_end_matches('\0').to_owned()),
            b'K' => long_link = Some(text(&mut body)?.trim_end_matches('\0').to_owned()),
            b'x' => {
                let records = text(&mut body)?;
                long_name = pax(&records, "path").or(long_name);
                long_link = pax(&records, "linkpath").or(long_link);
            }
            // What concerns all entries after it names none.
            b'g' => {}
            kind => {
                let (name, link) = (long_name.take().unwrap_or(header.name), long_link.take().unwrap_or(header.link));
                on(&Entry { name: &name, kind, size: header.size, mode: header.mode, link: &link }, &mut body)?;
            }
        }
        io::copy(&mut body, &mut io::sink())?;
        let padding = (BLOCK as u64 - header.size % BLOCK as u64) % BLOCK as u64;
        io::copy(&mut (&mut tar).take(padding), &mut io::sink())?;
    }
    Ok(())
}

fn decompress<'a>(mut layer: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    match layer.fill_buf()? {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(layer))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(invalid("its layer is compressed with zstd; use gzip or none".to_owned())),
        _ => Ok(Box::new(layer)),
    }
}

/// Names of the whiteout entries by which a layer would hide `path`.
fn removals(path: &str) -> Vec<String> {
    let mut names = vec![".wh..wh..opq".to_owned()];
    let mut parent = String::new();
    for part in path.split('/') {
        names.push(format!("{parent}.wh.{part}"));
        parent = format!("{parent}{part}/");
        names.push(format!("{parent}.wh..wh..opq"));
    }
    names
}

struct Header {
    name: String,
    link: String,
    size: u64,
    mode: u32,
    kind: u8,
}

impl Header {
    /// The next header; `None` at the end of the archive.
    fn read(tar: &mut impl Read) -> io::Result<Option<Header>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match tar.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(invalid("the archive is cut short".to_owned())),
                count => filled += count,
            }
        }
        if block.iter().all(|it| *it == 0) {
            return Ok(None);
        }
        check_sum(&block)?;
        let name = string(&block[..100]);
        let prefix = if block[257..].starts_with(b"ustar\0") { string(&block[345..500]) } else { String::new() };
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        // A mode that does not parse is as good as none.
        let mode = number(&block[100..108]).ok().and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
        let link = string(&block[157..257]);
        Ok(Some(Header { name, link, size: number(&block[124..136])?, mode, kind: block[156] }))
    }
}

fn check_sum(block: &[u8; BLOCK]) -> io::Result<()> {
    let blank = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) };
    match number(&block[148..156])? == block.iter().enumerate().map(blank).sum::<u64>() {
        true => Ok(()),
        false => Err(invalid("no tar archive, or a damaged one".to_owned())),
    }
}

/// Octal digits, or big-endian binary with the highest bit set.
fn number(field: &[u8]) -> io::Result<u64> {
    let bad = || invalid("a number in the archive does not parse".to_owned());
    if field[0] & 0x80 != 0 {
        let digits = field.iter().enumerate().map(|(at, it)| u64::from(if at == 0 { it & 0x7f } else { *it }));
        return digits.into_iter().try_fold(0_u64, |sum, it| sum.checked_mul(256)?.checked_add(it)).ok_or_else(bad);
    }
    let digits = string(field);
    match digits.trim() {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| bad()),
    }
}

fn string(field: &[u8]) -> String {
    let end = field.iter().position(|it| *it == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn text(body: &mut io::Take<impl Read>) -> io::Result<String> {
    if body.limit() > NAME_BYTES_MAX {
        return Err(invalid("a name in the archive is too long".to_owned()));
    }
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A value of a pax header: lines of the form `length key=value`.
fn pax(records: &str, key: &str) -> Option<String> {
    let value = |it: &str| it.split_once(' ')?.1.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    records.lines().find_map(value)
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    /// A tar archive of plain files.
    pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, content) in files {
            archive.extend(header(name, content.len(), b'0'));
            archive.extend(*content);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
        archive.resize(archive.len() + 2 * BLOCK, 0);
        archive
    }

    fn header(name: &str, size: usize, kind: u8) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[148..156].fill(b' ');
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u64 = block.iter().map(|it| u64::from(*it)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    fn look(layer: &[u8], path: &str) -> io::Result<Found<Vec<u8>>> {
        find(layer, path, |_, body| {
            let mut content = Vec::new();
            body.read_to_end(&mut content)?;
            Ok(content)
        })
    }

    #[test]
    fn finds_the_file_plain_and_compressed() {
        let plain = tar(&[("./etc/x", b"no"), ("./bin/app.wasm", b"\0asm"), ("z", b"")]);
        assert_eq!(look(&plain, "bin/app.wasm").unwrap(), Found::File(b"\0asm".to_vec()));
        assert_eq!(look(&plain, "app.wasm").unwrap(), Found::Nothing);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        assert_eq!(look(&gzip.finish().unwrap(), "bin/app.wasm").unwrap(), Found::File(b"\0asm".to_vec()));
    }

    #[test]
    fn long_names_come_from_pax_and_gnu_records() {
        let path = format!("{}/app.wasm", "d".repeat(200));
        for (kind, record) in [(b'x', format!("220 path={path}\n")), (b'L', format!("{path}\0"))] {
            let mut archive = header("long", record.len(), kind).to_vec();
            archive.extend(record.as_bytes());
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
            archive.extend(tar(&[("short", b"\0asm")]));
            assert_eq!(look(&archive, &path).unwrap(), Found::File(b"\0asm".to_vec()));
        }
    }

    #[test]
    fn whiteouts_hide_lower_layers() {
        for name in [".wh.bin", "bin/.wh.app.wasm", "bin/.wh..wh..opq"] {
            assert_eq!(look(&tar(&[(name, b"")]), "bin/app.wasm").unwrap(), Found::Removed, "{name}");
        }
    }

    #[test]
    fn no_single_byte_makes_it_panic() {
        let archive = tar(&[("app.wasm", b"\0asm"), ("b", b"")]);
        for at in 0..archive.len() {
            for byte in [0, b'7', b'L', b'x', 0x80, 0xff] {
                let mut bad = archive.clone();
                bad[at] = byte;
                if let Ok(Found::File(content)) = look(&bad, "app.wasm") {
                    assert!(content.len() <= archive.len());
                }
            }
        }
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]).unwrap(), 258);
        assert!(number(&[0xff; 12]).is_err() && number(&[0xff; 8]).is_ok());
    }

    #[test]
    fn garbage_is_an_error_and_truncation_too() {
        let archive = tar(&[("app.wasm", b"\0asm")]);
        for bad in [&b"#!/bin/sh\n".repeat(100)[..], &archive[..300], b"\x28\xb5\x2f\xfd0000"] {
            assert_eq!(look(bad, "app.wasm").unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let link = header("app.wasm", 0, b'2');
        assert_eq!(look(&link, "app.wasm").unwrap_err().to_string(), "app.wasm is a link");
    }
}
