//! The formal models of the documents, as functions with their names.

use crate::words::words;

words! {
    /// The values of E(S,L,R,N).
    Edge {
        /// Computing beside a base station.
        Mec = "mec", "5G MEC", "5G MEC";
        /// Computing in a factory.
        Iot = "iot", "industrial IoT", "工业 IoT";
        /// Computing near players.
        Game = "game", "online game", "在线游戏";
    }
}

words! {
    /// The values of S(C,D,A).
    Serverless {
        /// Small functions.
        LightFunction = "lightFunction", "light function", "轻量函数";
        /// Functions as a service.
        Faas = "faas", "FaaS", "FaaS";
    }
}
