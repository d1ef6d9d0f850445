/** Bytes of an event stream → frames. These types need no library of the browser's. */

export interface Frame {
  event: string;
  data: string;
  /** The id of this block; `lastEventId` also remembers those of earlier ones. */
  id?: string | undefined;
}

export class EventStreamParser {
  /** Id of the last block that had one. */
  lastEventId: string;
  /** Reconnection time in milliseconds, once the stream has given one. */
  retry: number | null;
  /** The frames that these bytes complete. */
  feed(bytes: Uint8Array): Frame[];
}
