//! eyot-store
