//! eyot-gateway
