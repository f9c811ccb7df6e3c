//! eyot-plan
