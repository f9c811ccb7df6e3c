//! eyot-model
