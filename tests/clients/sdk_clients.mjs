// matrix-js-sdk under Node 20: its log made quiet, and clients from a login.
// The SDK names Node 22 as its oldest; of that it needs only Promise.withResolvers.
import "fake-indexeddb/auto";
import { url } from "./harness.mjs";

Promise.withResolvers ??= function withResolvers() {
    let resolve, reject;
    const promise = new this((one, other) => {
        resolve = one;
        reject = other;
    });
    return { promise, resolve, reject };
};


// Parts of the SDK and its Rust crypto write to the console whatever logger they are given.
const loud = Boolean(process.env.CLIENTS_VERBOSE);
for (const level of ["trace", "debug", "log", "info", "warn", "error"]) {
    console[level] = (...words) => loud && process.stderr.write(`${words.join(" ")}\n`);
}
const quiet = { ...console, getChild: () => quiet };

export const sdk = await import("matrix-js-sdk");

/** A client for a login, or without one. */
export function newClient(user = {}, options = {}) {
    return sdk.createClient({
        baseUrl: url,
        userId: user.userId,
        accessToken: user.accessToken,
        deviceId: user.deviceId,
        timelineSupport: true,
        logger: quiet,
        ...options,
    });
}

/** Starts a client and waits until its first sync is done. */
export function started(client, options = {}) {
    return new Promise((resolve, reject) => {
        const onSync = (state, _before, data) => {
            if (state === "PREPARED" || state === "SYNCING") {
                client.off("sync", onSync);
                resolve(client);
            } else if (state === "ERROR" || state === "STOPPED") {
                client.off("sync", onSync);
                reject(new Error(`the first sync failed: ${data?.error?.message ?? state}`));
            }
        };
        client.on("sync", onSync);
        client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, threadSupport: true, pollTimeout: 10_000, ...options }).catch(reject);
    });
}

/** The bodies of a room's live timeline, oldest first. */
export function textsOf(room) {
    return room.getLiveTimeline().getEvents().map((event) => event.getOriginalContent().body).filter(Boolean);
}
