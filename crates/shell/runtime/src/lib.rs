//! eyot-runtime
