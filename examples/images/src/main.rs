//! `POST /resize?width=W[&height=H][&format=png|jpeg]` with a PNG or JPEG body answers with the picture scaled to fit.
//!
//! Pure work between two streams: no state, no disk. A picture that cannot be read is the caller's error (400), one that
//! would not fit in memory is refused before it is decoded (413).

use std::io::Cursor;

use image::{ImageError, ImageFormat, ImageReader, Limits};
use wstd::http::{Body, Method, Request, Response, StatusCode};

/// Largest accepted body: a 24-megapixel JPEG is about half of it.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Largest side of a result, in pixels.
const SIDE_MAX: u32 = 4096;
/// Most memory that decoding may take.
const DECODE_BYTES_MAX: u64 = 192 << 20;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, wstd::http::Error> {
    let (parts, mut body) = request.into_parts();
    if parts.uri.path() != "/resize" {
        return answer(StatusCode::OK, "text/plain", USAGE.into());
    }
    if parts.method != Method::POST {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain", USAGE.into());
    }
    let wanted = match Wanted::parse(parts.uri.query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(why) => return answer(StatusCode::BAD_REQUEST, "text/plain", why.into_bytes()),
    };
    let picture = body.contents().await?;
    if picture.len() > BODY_BYTES_MAX {
        return answer(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", b"the picture is larger than 16 MiB\n".to_vec());
    }
    match resize(picture, &wanted) {
        Ok(bytes) => answer(StatusCode::OK, wanted.format.to_mime_type(), bytes),
        Err(ImageError::Limits(_)) => {
            answer(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", b"the picture has too many pixels\n".to_vec())
        }
        Err(error) => {
            answer(StatusCode::BAD_REQUEST, "text/plain", format!("cannot read the picture: {error}\n").into())
        }
    }
}

const USAGE: &str = "POST a PNG or JPEG to /resize?width=W[&height=H][&format=png|jpeg]\n";

/// What the caller asked for.
struct Wanted {
    width: u32,
    height: u32,
    format: ImageFormat,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Wanted { width: 0, height: SIDE_MAX, format: ImageFormat::Jpeg };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let side = || value.parse::<u32>().map_err(|_| format!("{name} is not a number: {value}\n"));
            match name {
                "width" => wanted.width = side()?,
                "height" => wanted.height = side()?,
                "format" => {
                    wanted.format = match value {
                        "png" => ImageFormat::Png,
                        "jpeg" | "jpg" => ImageFormat::Jpeg,
                        _ => return Err(format!("format is png or jpeg, not {value}\n")),
                    }
                }
                _ => return Err(format!("unknown parameter {name}\n")),
            }
        }
        if !(1..=SIDE_MAX).contains(&wanted.width) || !(1..=SIDE_MAX).contains(&wanted.height) {
            return Err(format!("width and height lie between 1 and {SIDE_MAX}\n"));
        }
        Ok(wanted)
    }
}

fn resize(picture: &[u8], wanted: &Wanted) -> Result<Vec<u8>, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(picture)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let small = reader.decode()?.thumbnail(wanted.width, wanted.height);
    let mut out = Cursor::new(Vec::new());
    match wanted.format {
        // JPEG has no transparency.
        ImageFormat::Jpeg => small.to_rgb8().write_to(&mut out, ImageFormat::Jpeg)?,
        format => small.write_to(&mut out, format)?,
    }
    Ok(out.into_inner())
}

fn answer(status: StatusCode, kind: &str, body: Vec<u8>) -> Result<Response<Body>, wstd::http::Error> {
    Ok(Response::builder().status(status).header("content-type", kind).body(body.into())?)
}
