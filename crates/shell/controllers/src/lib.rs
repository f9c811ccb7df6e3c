//! eyot-controllers
