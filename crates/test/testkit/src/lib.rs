//! eyot-testkit
