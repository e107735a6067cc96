/**
 * A kind of hostile moment, and the tests that bring it about and then look for what is left. Parts of the files'
 * paths.
 */
export interface Kind {
  readonly title: string
  readonly files: readonly string[]
  /**
   * Why a plugin cannot be hit, or where it is tried instead, by its name; "others" stands for all that have no
   * sentence.
   */
  readonly cannot?: Readonly<Record<string, string>>
}

/** What four plugins need a kernel for that has their kind of link, as the virtual machine's. */
const native = (sentences: Record<'ipvlan' | 'vlan' | 'dummy' | 'vrf', string>) => sentences
const inMachine = (file: string) => `needs a kernel with this kind of link: ${file} tries it in the virtual machine`
const all = (sentence: string) => native({ ipvlan: sentence, vlan: sentence, dummy: sentence, vrf: sentence })

const asMacvlan =
  'is made and removed by the builders that macvlan’s links are, under the same lock; not tried by itself'
const asSbr =
  'changes links, routes and rules by the builders that sbr and host-device have, under the same lock; not tried by itself'
const tools = native({ ipvlan: asMacvlan, vlan: asMacvlan, dummy: asMacvlan, vrf: asSbr })

/** A chain has nothing of its own: no state, no tool, no namespace. */
const byMembers = {
  chain:
    'runs its members as they are tried by themselves, in one journal; chain/hostile breaks each at each operation',
}

const stateless = 'makes nothing and keeps nothing: it repeats what the configuration says'
const upOnly = 'keeps no state; all it does is to set lo up or down, which the next call does again'
const startsNone = 'starts no tool'

const written = (what: string) =>
  `${what}, read and written by the functions that the other plugins are tried with; not tried by itself`
const states = native({
  ipvlan: written('its record is one among others'),
  vlan: written('has no record but that of where its addresses come from'),
  dummy: written('has no record but that of where its addresses come from'),
  vrf: written('its record is one among others'),
})

export const kinds: readonly Kind[] = [
  {
    title: 'killed at any moment',
    files: ['faults/kills', 'main/killed', 'devices/faults', 'lan/faults', 'ptp/faults', 'devices/vrf', 'lan/children'],
    cannot: {
      ...all(inMachine('lan/children')),
      vrf: inMachine('devices/vrf'),
      static: stateless,
      loopback: upOnly,
      'host-local': 'runs in the process of the plugins that ask it, and is killed with them',
    },
  },
  {
    title: 'a tool outlives its killed plugin',
    files: ['outlive/'],
    cannot: { ...byMembers, ...tools, static: startsNone, loopback: upOnly, 'host-local': startsNone },
  },
  {
    title: 'a tool ends without saying what it did',
    files: ['unclear/'],
    cannot: { ...byMembers, ...tools, static: startsNone, loopback: upOnly, 'host-local': startsNone },
  },
  {
    title: 'a state file that cannot be written whole',
    files: ['state/short', 'surroundings/storage'],
    cannot: { ...byMembers, ...states, static: stateless, loopback: upOnly },
  },
  {
    title: 'garbled or planted state',
    files: ['state/garbled'],
    cannot: { ...byMembers, ...states, static: stateless, loopback: upOnly },
  },
  {
    title: 'a result that nobody gets, input that is late',
    files: ['protocol/standard'],
    cannot: {
      ...byMembers,
      ...all(
        'reads and answers by the lines that all plugins share, and takes an ADD back by the journal that the virtual machine tries with each of its operations refused (lan/children, devices/vrf)',
      ),
    },
  },
  {
    title: 'few tasks, files, addresses, little memory',
    files: ['limits'],
    cannot: { ...byMembers, ...all(inMachine('limits, in `make test-vm`,')) },
  },
  {
    title: 'a namespace swapped under its path',
    files: ['swapped/'],
    cannot: {
      ...byMembers,
      ...all(inMachine('swapped/swapped')),
      'host-local': 'enters no namespace',
      static: 'enters no namespace',
      portmap: 'enters no namespace',
      firewall: 'enters no namespace',
    },
  },
  {
    title: 'keys that are other ones at DEL',
    files: ['changed/'],
    cannot: {
      ...byMembers,
      ...all(inMachine('changed/leases')),
      vrf: inMachine('devices/vrf'),
      static: stateless,
      loopback: 'has no keys of its own',
      'host-local': 'is told of another dataDir, or not at all, by the plugins that ask it, which are tried',
    },
  },
  {
    title: 'hostile surroundings',
    files: ['surroundings/'],
    cannot: {
      ...byMembers,
      static: stateless,
      loopback: upOnly,
      ptp: 'masquerades by the functions that bridge does',
      others:
        'makes no rule that another program could meet; what all calls share (locks, records, leases, entering a namespace) is tried with the plugins that have a 0',
    },
  },
]
