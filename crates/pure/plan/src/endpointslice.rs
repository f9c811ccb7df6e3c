//! endpointslice
