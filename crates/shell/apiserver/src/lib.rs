//! eyot-apiserver
