//! The control socket: requests in, answers out.
//!
//! Knows the protocol, who may ask, and where answers come from. Decides nothing about agents.

mod connection;
mod events;
mod evidence;
mod peer;
mod service;
mod view;

pub use self::{
    connection::{Connection, Credentials},
    peer::{Access, Denied},
    service::ControlService,
};
