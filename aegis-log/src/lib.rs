//! aegis-log
