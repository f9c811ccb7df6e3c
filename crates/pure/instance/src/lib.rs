//! eyot-instance
