//! Names of images.

use serde_json::Value;

use super::{Call, Function, SearchError, function};
use crate::image::Image;

pub(super) const TABLE: &[Function] = &[function("image_normalize", 1, normalize)];

fn normalize(call: &Call<'_>) -> Result<Value, SearchError> {
    Image::parse(call.text(0)?).map(|it| it.to_string().into()).map_err(|it| call.fails(it))
}
