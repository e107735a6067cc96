/**
 * The recorded calls: what podman 4.3, buildah 1.28, ctr, containerd's CRI 1.6 and 2.1, CRI-O 1.37 and apptainer 1.4
 * gave the official plugins v1.9.1 on Debian 12, and what they got back. Two ADDs of cri21 that overlapped stand in the
 * order in which they got their addresses; everything else is in the order in which the calls ended.
 *
 * Calico and Multus are not to be had, so what they give was put together of what is known of them, and the answers are
 * those of the official plugins v1.10.0. SOURCES.md beside the samples says where each comes from.
 */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

export type JsonObject = { [key: string]: Json }
export type Json = null | boolean | number | string | Json[] | JsonObject

/** One call of a plugin as it was recorded. Empty strings stand for variables that were not set. */
export type RecordedCall = {
  type: string
  cmd: 'ADD' | 'CHECK' | 'DEL' | 'STATUS' | 'GC' | 'VERSION'
  id: string
  netns: string
  ifname: string
  args: string
  path: string
  /** The exit code. */
  rc: number
  /** The start of the calling process's command line. */
  parent: string
  stdin: JsonObject
  stdout: Json
}

/** Reads one compressed sample, a JSON object a line. */
export function readSample(file: string): RecordedCall[] {
  const lines = gunzipSync(readFileSync(file)).toString().trim().split('\n')
  return lines.map((line) => JSON.parse(line))
}

/** True for a call that a plugin made (address management), not the client: replaying its caller makes it again. */
export const isDelegated = (call: RecordedCall): boolean => /^\/opt\/cni\/bin\/[a-z]/.test(call.parent)

/** An attachment is a container's interface in one network. */
export const attachmentOf = (call: RecordedCall): string => `${call.id} ${call.ifname}`

/** Narrows a JSON value to an object. */
export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
