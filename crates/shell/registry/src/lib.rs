//! Images: an embedded OCI registry on content-addressed files, and the client that pulls into the same files.
//!
//! Start at [`Blobs::open`]. [`Registry`] serves a [`Blobs`] over the OCI distribution API, [`Images`] finds the one
//! WebAssembly file of an image in it, pulling what is missing, and [`push()`] makes an image of a file. An image of several
//! components is put together where it is pulled.
//!
//! Deliberately absent: running, compiling or validating WebAssembly (a few magic bytes tell what it is), authentication
//! of clients (the endpoint listens on loopback), signatures.

mod archive;
mod artifact;
mod blobs;
mod bundle;
mod catalog;
mod collect;
mod credentials;
mod digest;
mod image;
mod images;
mod linked;
mod media;
mod programs;
mod push;
mod remote;
mod resolve;
mod server;
mod unpack;
mod upload;

pub use blobs::{BlobError, Blobs, Upload};
pub use collect::Collected;
pub use credentials::{Credential, CredentialError};
pub use digest::Digest;
pub use image::{Image, ImagePart, PullError, PullPolicy};
pub use images::{Images, ImagesConfig};
pub use programs::ProgramFile;
pub use push::{Library, PushError, PushOptions, Pushed, push};
pub use server::Registry;
