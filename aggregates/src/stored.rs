//! The names under which events are stored.
//!
//! The serde tag, `event_type` and the list of known types must agree for ever; one macro writes all three
//! from one line per event, so that they cannot drift apart.

/// Implements `cqrs_es::DomainEvent` for a tagged event enum and lists its stored types.
macro_rules! stored_events {
    ($event:ident { $($variant:ident $version:literal),+ $(,)? }) => {
        impl $event {
            /// Every stored event type of this aggregate with the version that is written today.
            pub const STORED: &'static [(&'static str, &'static str)] =
                &[$((stringify!($variant), $version)),+];

            /// The stored name of this event.
            pub fn stored_type(&self) -> &'static str {
                match self { $(Self::$variant { .. } => stringify!($variant)),+ }
            }

            /// The stored version of this event.
            pub fn stored_version(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $version),+ }
            }
        }

        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                self.stored_type().to_owned()
            }

            fn event_version(&self) -> String {
                self.stored_version().to_owned()
            }
        }
    };
}

/// Implements `cqrs_es::Aggregate` for a type with a pure `decide` and an `evolve`.
macro_rules! aggregate {
    ($state:ident, $type:literal, $command:ident, $event:ident, $error:ident) => {
        impl cqrs_es::Aggregate for $state {
            const TYPE: &'static str = $type;
            type Command = $command;
            type Event = $event;
            type Error = $error;
            type Services = ();

            async fn handle(
                &mut self,
                command: $command,
                _: &(),
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), $error> {
                for event in self.decide(command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: $event) {
                self.evolve(event);
            }
        }

        impl $crate::stored::Decides for $state {
            fn decide(&self, command: $command) -> Result<Vec<$event>, $error> {
                Self::decide(self, command)
            }
        }
    };
}

/// An aggregate whose whole business is one pure function.
pub trait Decides: cqrs_es::Aggregate<Event: Into<crate::AnyEvent> + TryFrom<crate::AnyEvent>> {
    /// The events that `command` causes in this state, or the refusal. No event means that nothing is to do.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;
}

pub(crate) use {aggregate, stored_events};
