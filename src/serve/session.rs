//! One connection's fids, tags and parked requests.
pub struct Session<T>(std::marker::PhantomData<T>);
