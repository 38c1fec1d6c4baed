//! The audit log of Aegis.
mod chain;
mod checkpoint;
mod entry;
mod frame;
mod hash;
mod key;
mod merkle;
mod proof;
