import {
  clearDrafts,
  namesIn,
  readState,
  replaceState,
  systemStateFiles,
  Unusable,
  whyUnusable,
} from '../../shared/exec/state.js'
import type { Writing } from '../../shared/exec/writable.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { isAbsent, messageOf } from '../../shared/values/errno.js'
import { asCniError, CniError, codes } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'
import { isObject } from '../../shared/values/object.js'
import type { Delegate, FlannelCall } from './delegate.js'

// What the delegate of each container was given, for DEL: flanneld's file may say other things by then, or be gone. The
// files are the official plugin's: dataDir/CONTAINER, so that either takes down what the other attached. They survive a
// reboot, as leases do. One key more says whose it is: a second interface of a container has a file of its own, where
// the official plugin writes over the first one's, and leaks it.

/** What is kept of an attachment, and where. */
export interface Kept {
  readonly file: string
  /** Undefined where nothing is kept, or nothing that can be read. */
  readonly delegate: Delegate | undefined
  /** Of the official plugin it is not known. */
  readonly attachment: Attachment | undefined
}

/** What ADD kept of the call's attachment. */
export function findKept(call: FlannelCall): Kept {
  const { attachment, config } = call
  const usual = read(call, `${config.dataDir}/${attachment.containerID}`)
  const isOthers = usual.attachment !== undefined && attachmentHash(usual.attachment) !== attachmentHash(attachment)
  if (usual.delegate !== undefined && !isOthers) return usual
  const own = read(call, `${config.dataDir}/${attachment.containerID}.${attachmentHash(attachment)}`)
  return own.delegate !== undefined || isOthers ? own : usual
}

/** Keeps what the delegate of an ADD is about to get; taken back when the ADD fails. */
export function keep(call: FlannelCall, delegate: Delegate): void {
  const { host, attachment } = call
  const before = findKept(call)
  host.change(`keep the delegate's configuration in ${before.file}`, () => {
    host.journal.note(() => {
      try {
        if (before.delegate) put(call, before.file, textOf(before.delegate, before.attachment))
        else remove(before.file)
        return []
      } catch (thrown) {
        return [asCniError(thrown)]
      }
    })
    put(call, before.file, textOf(delegate, attachment))
  })
}

/** Removes a file, and what an ADD that was killed while it wrote may have left of it. */
export function forget(call: FlannelCall, { file }: Kept): void {
  call.host.change(`forget ${file}`, () => {
    remove(file)
    clear(call, draftsOf(call, file).prefix)
  })
}

/** What is kept of attachments of the call's network that are not among the valid ones. */
export function staleKept(call: FlannelCall): readonly Kept[] {
  const { config, validAttachments, host } = call
  if (validAttachments === undefined) return []
  if (!host.dryRun) clear(call, '')
  const containers = new Set(validAttachments.map(({ containerID }) => containerID))
  const alive = new Set(validAttachments.map(({ containerID, ifname }) => `${containerID}/${ifname}`))
  return listed(call).flatMap((name) => {
    const kept = read(call, `${config.dataDir}/${name}`)
    const { attachment } = kept
    const isAlive = attachment ? alive.has(`${attachment.containerID}/${attachment.ifName}`) : containers.has(name)
    return kept.delegate?.['name'] === config.name && !isAlive ? [kept] : []
  })
}

/** What an ADD writes. */
export function keptWritings({ config }: FlannelCall): readonly Writing[] {
  return [{ directory: draftFolder(config.dataDir), files: 0 }, { directory: config.dataDir }]
}

// --- internal

const files = systemStateFiles

/** The key that says whose a file is; plugins leave keys alone that they do not know. */
const ownerKey = 'podwire.attachment'

function textOf(delegate: Delegate, attachment: Attachment | undefined): string {
  return JSON.stringify({ ...delegate, ...(attachment ? { [ownerKey]: attachment } : {}) })
}

function read(call: FlannelCall, file: string): Kept {
  const nothing = { file, delegate: undefined, attachment: undefined }
  try {
    const text = readState(files, file)
    return text === undefined ? nothing : { file, ...parsed(text) }
  } catch (thrown) {
    const why = whyUnusable(thrown)
    call.host.warn(`flannel: ${file} ${why}: the configuration says what the delegate was given`)
    return nothing
  }
}

/** @throws Unusable */
function parsed(text: string): Pick<Kept, 'delegate' | 'attachment'> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (thrown) {
    throw new Unusable(`is no JSON: ${messageOf(thrown)}`)
  }
  if (!isObject(json)) throw new Unusable('is no JSON object')
  const { [ownerKey]: owner, ...delegate } = json
  const { type, name } = delegate
  if (typeof type !== 'string' || type === 'flannel' || typeof name !== 'string') {
    throw new Unusable("is no delegate's configuration")
  }
  return { delegate, attachment: ownerOf(owner) }
}

function ownerOf(value: unknown): Attachment | undefined {
  if (!isObject(value)) return undefined
  const { network, containerID, ifName } = value
  const isWhole = [network, containerID, ifName].every((one) => typeof one === 'string')
  return isWhole
    ? { network: network as string, containerID: containerID as string, ifName: ifName as string }
    : undefined
}

/** Drafts have a folder of their own, so that a search for them does not grow with the containers. */
function draftFolder(dataDir: string): string {
  return `${dataDir}/.drafts`
}

function draftsOf({ config }: FlannelCall, file: string) {
  return { directory: draftFolder(config.dataDir), prefix: `${file.slice(file.lastIndexOf('/') + 1)}.` }
}

function put(call: FlannelCall, file: string, text: string): void {
  try {
    replaceState(files, file, text, draftsOf(call, file))
  } catch (thrown) {
    throw new CniError(codes.ioFailure, `cannot write ${file}`, {
      details: messageOf(thrown),
      fix: `make ${call.config.dataDir} a writable directory with space: it keeps what DEL has to give the delegate`,
      cause: thrown,
    })
  }
}

function remove(file: string): void {
  try {
    files.unlinkSync(file)
  } catch (thrown) {
    if (isAbsent(thrown)) return
    throw new CniError(codes.ioFailure, `cannot remove ${file}`, { details: messageOf(thrown), cause: thrown })
  }
}

function clear(call: FlannelCall, prefix: string): void {
  const directory = draftFolder(call.config.dataDir)
  try {
    clearDrafts(files, { directory, prefix })
  } catch (thrown) {
    call.host.warn(`flannel: ${directory} ${whyUnusable(thrown)}`)
  }
}

function listed(call: FlannelCall): readonly string[] {
  const { dataDir } = call.config
  try {
    return namesIn(files, dataDir).filter((name) => !name.startsWith('.'))
  } catch (thrown) {
    call.host.warn(`flannel: ${dataDir} ${whyUnusable(thrown)}`)
    return []
  }
}
