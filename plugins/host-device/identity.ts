import type { Host } from '../../shared/plan/host.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { DeviceNetwork } from './network.js'

// Which link in a container is the device that was lent. The container's root can give any link the device's name,
// alias and MAC address, and make one of its kind under its number once the device is elsewhere. What it cannot make:
// hardware, and links in other namespaces.

/** What a device was on the host: what tells it from others, and gives it back. */
export interface Moved extends Make {
  readonly device: string
  readonly mac?: string
  readonly alias?: string
  readonly up: boolean
  /** What it had of the host's network, where that went with it. */
  readonly network?: DeviceNetwork
  /** How many addresses of the result, from the first on, are leases beside that. */
  readonly leased?: number
  /** Where it was put in the container, of one that is no hardware. */
  readonly inside?: Place
}

/** What a link is, wherever it is and whatever it is called. */
export interface Make {
  /** Of a link that is no hardware: veth, vlan, ... */
  readonly kind?: string
  /** The address that hardware is made with. */
  readonly permanent?: string
  /** The hardware, as "BUS/DEVICE". */
  readonly parent?: string
}

/**
 * A link's number in a namespace, and that of the link it sits on or ends at, in the namespace that has the number
 * `netnsID` there.
 */
export interface Place {
  readonly index: number
  readonly link?: number
  readonly netnsID?: number
}

export function makeOf({ linkinfo, address, permaddr, parentbus, parentdev }: ObservedLink): Make {
  const kind = linkinfo?.info_kind
  const permanent = permaddr ?? address
  return {
    ...(kind === undefined ? {} : { kind }),
    ...(kind !== undefined || permanent === undefined ? {} : { permanent }),
    ...(parentdev === undefined ? {} : { parent: `${parentbus ?? ''}/${parentdev}` }),
  }
}

export function placeOf({ ifindex, link_index, link_netnsid }: ObservedLink): Place {
  return {
    index: ifindex,
    ...(link_index === undefined ? {} : { link: link_index }),
    ...(link_netnsid === undefined ? {} : { netnsID: link_netnsid }),
  }
}

/** Whether a link bears what an ADD gave or left the device, which anybody may have given it. */
export function isMarked({ device, mac }: Moved, { ifalias, address }: ObservedLink): boolean {
  return ifalias === device && address === mac
}

/**
 * Whether a link of the container is the device on record. Hardware is known by itself, a link that is none by its
 * number and by what it ends at. An ADD that was killed, or one of podwire 0.1.0, has noted neither: then the marks
 * must do, `isNamed` among them.
 */
export function isDevice(moved: Moved, link: ObservedLink, isNamed: boolean): boolean {
  if (!isOfMake(moved, link)) return false
  const { inside } = moved
  if (moved.parent !== undefined) return true
  if (!inside)
    return isMarked(moved, link) || (isNamed && (link.ifalias === moved.device || link.address === moved.mac))
  const place = placeOf(link)
  return place.index === inside.index && place.link === inside.link && place.netnsID === inside.netnsID
}

/** Whether a link can be the device on record, in any namespace. */
export function isOfMake({ kind, permanent, parent }: Make, link: ObservedLink): boolean {
  const make = makeOf(link)
  // iproute2 before 5.14 does not tell the parent; that a link is of no kind is enough to be hardware.
  if (parent !== undefined)
    return isHardware(link) && (make.parent ?? parent) === parent && make.permanent === permanent
  // podwire 0.1.0 noted none of it.
  return kind === undefined || make.kind === kind
}

/** Whether a link cannot be one that the container's root made: it is hardware, or it ends at one of the host. */
export function isOfHost({ observer }: Host, netns: string, link: ObservedLink): boolean {
  const { link_index, link_netnsid } = link
  if (isHardware(link)) return true
  return link_index !== undefined && link_netnsid !== undefined && link_netnsid === observer.hostNumberIn(netns)
}

// --- internal

/** All that can be made by request has a kind. */
function isHardware({ linkinfo }: ObservedLink): boolean {
  return linkinfo?.info_kind === undefined
}
