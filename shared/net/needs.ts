import { accessSync, constants } from 'node:fs'
import { hasProgram } from '../exec/run.js'
import { type Writing, writeObstacles } from '../exec/writable.js'
import type { Host } from '../plan/host.js'
import { messageOf } from '../values/errno.js'
import { asCniError, CniError, codes } from '../values/errors.js'
import { type Feature, missingFeatures } from './probe.js'

/** What an ADD needs of this machine under one configuration. */
export interface Needs {
  /** Tried, with the tools that an ADD would start for them. */
  readonly features?: readonly Feature[]
  /** Started in any case, also by what is no feature. */
  readonly programs?: readonly string[]
  readonly writes?: readonly Writing[]
  /** Settings that are written, by their paths such as net/ipv4/ip_forward. */
  readonly settings?: readonly string[]
  /** Everything else: each throws what an ADD would throw. */
  readonly also?: readonly (() => void)[]
  /** Asks the IPAM plugin; throws what STATUS shall answer. */
  readonly ipam?: () => void
}

/**
 * For STATUS: looks for all that an ADD needs, and changes nothing.
 * @throws code 50 naming all that is missing, or the code of the IPAM plugin
 */
export function requireForAdd(host: Host, ...parts: readonly Needs[]): void {
  const { features, programs, writes, settings, also, ipam } = together(parts)
  refuseTogether([
    ...lacking('the kernel or a program is missing for ADD', missingFeatures(host, features), whatToInstall),
    ...lacking('a program is missing for ADD', missingPrograms(host, programs), whatToInstall),
    ...lacking('files cannot be written', writeObstacles(writes), 'free space or inodes, or make it writable'),
    ...lacking('settings cannot be written', settings.flatMap(settingObstacle), 'make /proc/sys writable'),
    ...also.flatMap(refusalOf).map(unavailable),
    ...refusalOf(ipam),
  ])
}

/** The tools by which what is in a container is done where the kernel cannot be asked (netlink/driver.ts). */
export function insideTools({ executor }: Pick<Host, 'executor'>): readonly string[] {
  return executor.isDirect() ? [] : ['nsenter', 'ip']
}

/** The settings by which the host forwards, as far as they have to be written yet. */
export function forwardingSettings({ files }: Pick<Host, 'files'>): readonly string[] {
  return ['net/ipv4/ip_forward'].filter((path) => files.read(`/proc/sys/${path}`).trim() !== '1')
}

// --- internal

const whatToInstall =
  'load the kernel module, or install iproute2, nftables (or iptables, where that is the backend) and util-linux'

function together(parts: readonly Needs[]): Required<Needs> {
  return {
    features: parts.flatMap(({ features = [] }) => features),
    programs: parts.flatMap(({ programs = [] }) => programs),
    writes: parts.flatMap(({ writes = [] }) => writes),
    settings: parts.flatMap(({ settings = [] }) => settings),
    also: parts.flatMap(({ also = [] }) => also),
    ipam: () => {
      for (const { ipam } of parts) ipam?.()
    },
  }
}

function lacking(what: string, list: readonly string[], fix: string): readonly CniError[] {
  return list.length === 0 ? [] : [new CniError(codes.notAvailable, `${what}: ${list.join(', ')}`, { fix })]
}

function missingPrograms({ env }: Host, programs: readonly string[]): readonly string[] {
  return [...new Set(programs)]
    .filter((name) => !hasProgram(name, env['PATH']))
    .map((name) => `"${name}" is not installed`)
}

/** A setting of an interface that is not there yet cannot be asked for. */
function settingObstacle(path: string): readonly string[] {
  try {
    accessSync(`/proc/sys/${path}`, constants.W_OK)
    return []
  } catch (thrown) {
    return [`${path}: ${messageOf(thrown)}`]
  }
}

function refusalOf(look: () => void): readonly CniError[] {
  try {
    look()
    return []
  } catch (thrown) {
    return [asCniError(thrown)]
  }
}

function unavailable(error: CniError): CniError {
  const { code, message, details } = error
  return code === codes.internal ? error : new CniError(codes.notAvailable, message, { details })
}

function refuseTogether(failures: readonly CniError[]): void {
  const [first, ...others] = failures
  if (!first) return
  if (others.length === 0) throw first
  const { code = codes.notAvailable } = failures.find((one) => one.code !== codes.notAvailable) ?? {}
  throw new CniError(code, failures.map(({ message }) => message).join('; '), {
    details: failures
      .map(({ details }) => details)
      .filter((one) => one !== '')
      .join('\n'),
  })
}
