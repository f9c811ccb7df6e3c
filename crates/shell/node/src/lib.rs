//! eyot-node
