//! Conditions and routes that come of objects.
