//! eyot-route
