//! eyot-registry
