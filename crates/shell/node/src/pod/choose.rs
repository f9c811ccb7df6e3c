//! Which program of its image a container runs: the one that its command names, else the one that the image starts.
//!
//! Start at [`program`]. An image of one bare program has no files to choose from: there a command only says what the program
//! is called.

use eyot_registry::{Image, Images, ProgramFile};
use k8s_openapi::api::core::v1::Container;

use super::session::SessionError;

/// The program of `container`, whose name and arguments are `args`.
pub(crate) async fn program(
    images: &Images,
    image: &Image,
    container: &Container,
    args: &[String],
) -> Result<ProgramFile, SessionError> {
    let has_command = container.command.as_ref().is_some_and(|it| !it.is_empty());
    match args.first().filter(|_| has_command) {
        Some(name) => named(images, image, name).await,
        None => Ok(own(image)),
    }
}

/// The program that `name` stands for.
pub(super) async fn named(images: &Images, image: &Image, name: &str) -> Result<ProgramFile, SessionError> {
    if !image.has_files() {
        return Ok(own(image));
    }
    let command = name.to_owned();
    match images.program(image, name).await {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(SessionError::NotFound { command, image: image.reference.clone() }),
        Err(error) => Err(SessionError::Start { command, reason: error.to_string() }),
    }
}

fn own(image: &Image) -> ProgramFile {
    ProgramFile { wasm: image.wasm.clone(), digest: image.wasm_digest.clone() }
}
