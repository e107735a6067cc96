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

const elsewhere = 'needs a kernel with this kind of link: the virtual machine runs it (`make test-vm`)'
const stateless = 'keeps no state on disk and starts no tool: there is nothing for it to leave'
const vm = { ipvlan: elsewhere, vlan: elsewhere, dummy: elsewhere, vrf: elsewhere }
const plain = { ...vm, static: stateless, loopback: stateless }

export const kinds: readonly Kind[] = [
  {
    title: 'killed at any moment',
    files: ['faults/kills', 'main/killed', 'devices/faults', 'lan/faults', 'ptp/faults', 'devices/vrf', 'lan/children'],
    cannot: {
      ...plain,
      'host-local': 'runs inside the main plugins that are killed, and is killed with them',
    },
  },
  {
    title: 'a tool outlives its killed plugin',
    files: ['outlive/'],
    cannot: {
      ...plain,
      'host-local': 'starts no tool',
      ptp: 'makes its links and rules as bridge does, by the same builders and the same lock',
      tap: 'makes its link with `ip` alone, as macvlan does, by the same lock',
    },
  },
  {
    title: 'a tool ends without saying what it did',
    files: ['unclear/'],
    cannot: { ...plain, 'host-local': 'starts no tool' },
  },
  {
    title: 'a state file that cannot be written whole',
    files: ['state/short', 'surroundings/storage'],
    cannot: {
      ...plain,
      macvlan: 'its only state is host-local’s lease, or the record of hostAccess, written by the same function',
      tap: 'keeps no state of its own',
      bandwidth: 'keeps no state: the links carry its names',
    },
  },
  {
    title: 'garbled or planted state',
    files: ['state/garbled'],
    cannot: { ...plain, tap: 'keeps no state of its own' },
  },
  {
    title: 'a result that nobody gets, input that is late',
    files: ['protocol/standard'],
    cannot: vm,
  },
  { title: 'few tasks, files, addresses, little memory', files: ['limits'], cannot: vm },
  {
    title: 'a namespace swapped under its path',
    files: ['swapped/'],
    cannot: {
      ...vm,
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
      ...plain,
      'host-local':
        'releases by container and interface; its directory is the only key that matters, and is tried with bridge',
    },
  },
  {
    title: 'hostile surroundings',
    files: ['surroundings/'],
    cannot: {
      ...plain,
      others: 'shares nothing with what others do on a host but the links and rules that the named plugins make',
    },
  },
]
