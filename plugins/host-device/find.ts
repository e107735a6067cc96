import type { Host } from '../../shared/plan/host.js'
import { CniError, codes, invalidConfiguration, type Problem } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { HostDeviceConfiguration } from './host-device.schema.js'
import type { Moved } from './identity.js'

/** What a configuration means: a link to look for, or none because a program drives the device itself. */
export type Device = { readonly dpdk: true } | { readonly dpdk: false; readonly find: () => ObservedLink }

type Config = Pick<
  HostDeviceConfiguration,
  'device' | 'hwaddr' | 'kernelpath' | 'pciBusID' | 'dpdkMode' | 'runtimeConfig'
>

/** Mistakes in the keys that name the device; each becomes part of a path or a comparison, and must be one name. */
export function deviceProblems(config: Config): readonly Problem[] {
  const { device, hwaddr, kernelpath, pciBusID, runtimeConfig } = config
  const deviceID = runtimeConfig?.deviceID
  const problems: Problem[] = []
  if (!device && !hwaddr && !kernelpath && !pciBusID && !deviceID) {
    problems.push({
      path: 'device',
      value: device,
      expected: 'a link',
      official: 'specify either "device", "hwaddr", "kernelpath" or "pciBusID"',
    })
  }
  if (device?.includes('*') || device?.includes('?')) {
    problems.push({ path: 'device', value: device, expected: 'the name of one link' })
  }
  if (hwaddr && octetsOf(hwaddr) === undefined) {
    problems.push({
      path: 'hwaddr',
      value: hwaddr,
      expected: 'a hardware address such as "02:00:5e:10:00:01"',
      official: `${finding}failed to parse MAC address "${hwaddr}": address ${hwaddr}: invalid MAC address`,
    })
  }
  if (kernelpath && !(kernelpath.startsWith('/sys/devices/') && !kernelpath.split('/').includes('..'))) {
    problems.push({
      path: 'kernelpath',
      value: kernelpath,
      expected: 'an absolute path that begins with /sys/devices/',
      official: `${finding}kernel device path "${kernelpath}" must be absolute and begin with /sys/devices/`,
    })
  }
  for (const [path, value] of Object.entries({ pciBusID, 'runtimeConfig.deviceID': deviceID })) {
    if (value && !isFileName(value)) problems.push({ path, value, expected: 'a device ID such as "0000:04:00.1"' })
  }
  return problems
}

/**
 * The device, in the official precedence: name, hardware address, kernel path, PCI, auxiliary bus. A PCI device under
 * one of the user-space drivers has no link, whatever else the configuration says.
 * @throws code 7 or 100 when it is not there
 */
export function findDevice(host: Host, config: Config): Device {
  const bus = busDevice(host, config)
  const dpdk = bus?.bus === 'pci' ? userSpaceDrivers.includes(driverOf(host, bus.path)) : config.dpdkMode
  return dpdk ? { dpdk } : { dpdk, find: () => linkOf(host, config, bus) }
}

/** Whether a configuration names a device that was lent, in the same precedence. */
export function isNamed(config: Config, { device, mac, permanent, parent }: Moved): boolean {
  const { hwaddr, kernelpath, pciBusID, runtimeConfig } = config
  if (config.device) return config.device === device
  if (hwaddr) return [mac, permanent].includes(octetsOf(hwaddr) ?? '')
  const bus = parent?.slice(parent.indexOf('/') + 1)
  if (bus === undefined) return false
  return kernelpath ? kernelpath.split('/').includes(bus) : bus === (runtimeConfig?.deviceID || pciBusID)
}

// --- internal

const finding = 'failed to find host device: '

interface BusDevice {
  readonly bus: 'pci' | 'auxiliary'
  readonly path: string
}

const userSpaceDrivers = ['vfio-pci', 'uio_pci_generic', 'igb_uio']

function busDevice(host: Host, { pciBusID, runtimeConfig }: Config): BusDevice | undefined {
  const pci = (id: string) => ({ bus: 'pci', path: `/sys/bus/pci/devices/${id}` }) as const
  const deviceID = runtimeConfig?.deviceID
  if (!deviceID) return pciBusID ? pci(pciBusID) : undefined
  const candidates = [pci(deviceID), { bus: 'auxiliary', path: `/sys/bus/auxiliary/devices/${deviceID}` } as const]
  const found = candidates.find(({ path }) => namesIn(host, path) !== undefined)
  if (found) return found
  throw invalidConfiguration(
    [{ path: 'runtimeConfig.deviceID', value: deviceID, expected: 'a device on the PCI or the auxiliary bus' }],
    `runtime config DeviceID ${deviceID} not found or unsupported`,
  )
}

function driverOf(host: Host, path: string): string {
  try {
    return lastOf(host.files.readLink(`${path}/driver`))
  } catch (thrown) {
    const isAbsent = namesIn(host, path) === undefined
    throw new CniError(codes.operationFailed, `error with host device: ${(thrown as Error).message}`, {
      official: isAbsent ? `error with host device: lstat ${path}: no such file or directory` : undefined,
      fix: `see that the device is there and a driver is bound to it: ls -l ${path}/`,
    })
  }
}

function linkOf(host: Host, { device, hwaddr, kernelpath }: Config, bus: BusDevice | undefined): ObservedLink {
  if (device) return host.observer.link(device) ?? notFound(host, 'device', device)
  if (hwaddr) {
    const wanted = octetsOf(hwaddr)
    return host.observer.links().find(({ address }) => address === wanted) ?? notFound(host, 'hwaddr', hwaddr)
  }
  const path = kernelpath || bus?.path || ''
  const name = firstLink(host, path, bus?.bus === 'pci' && !kernelpath)
  const link = name === undefined ? undefined : host.observer.link(name)
  return link ?? notFound(host, kernelpath ? 'kernelpath' : (bus?.bus ?? 'device'), path)
}

/** The first link of a device, of a virtio device by the one below it. */
function firstLink(host: Host, path: string, isPci: boolean): string | undefined {
  const virtio = isPci ? (namesIn(host, path) ?? []).filter((name) => name.startsWith('virtio')) : []
  const places = [`${path}/net`, ...virtio.map((name) => `${path}/${name}/net`)]
  return places.flatMap((place) => namesIn(host, place) ?? [])[0]
}

const notFoundWords: Readonly<Record<string, (value: string, host: Host) => string>> = {
  hwaddr: () => 'failed to find physical interface',
  kernelpath: (path, host) =>
    namesIn(host, `${path}/net`)
      ? `failed to find network device in path ${path}/net`
      : `failed to read directory ${path}/net: "open ${path}/net: no such file or directory"`,
  pci: (path) => `no net directory under pci device ${path.slice(path.lastIndexOf('/') + 1)}`,
}

function notFound(host: Host, path: string, value: string): never {
  const problems = [{ path, value, expected: 'what leads to a link of the host' }]
  const official = notFoundWords[path]?.(value, host)
  throw new CniError(codes.operationFailed, `${finding}Link not found`, {
    official: official && finding + official,
    problems,
    fix: 'see the links there are: ip -d link; another container may have it',
  })
}

function namesIn(host: Host, path: string): readonly string[] | undefined {
  try {
    return host.files.list(path)
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw thrown
  }
}

function lastOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function isFileName(text: string): boolean {
  return !text.includes('/') && !text.includes('\0') && text !== '.' && text !== '..'
}

/** 6, 8 or 20 octets (20: InfiniBand) as `ip` prints them, from any form Go's net.ParseMAC takes. */
function octetsOf(text: string): string | undefined {
  const separator = text.includes('.') ? '.' : text.includes('-') ? '-' : ':'
  const groups = text.toLowerCase().split(separator)
  const digits = separator === '.' ? 4 : 2
  const hex = groups.join('')
  const isWhole = groups.every((group) => group.length === digits) && [12, 16, 40].includes(hex.length)
  if (!isWhole || [...hex].some((char) => !'0123456789abcdef'.includes(char))) return undefined
  return Array.from({ length: hex.length / 2 }, (_, index) => hex.slice(index * 2, index * 2 + 2)).join(':')
}
