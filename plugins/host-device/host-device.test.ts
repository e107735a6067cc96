import { describe, expect, test } from 'vitest'
import { link, needsRun, type Row, show } from '../../shared/testing/golden.js'
import { isNamed } from './find.js'

// "dev..." and the records are hashes of network "net", container "c1", interface "eth0".
const passing = 'devdd6ccc806f76'
const mac = '02:00:00:00:aa:01'
const hd0 = link('hd0', { address: mac, flags: ['UP'] })
const none = { status: 1, stderr: 'Device "eth0" does not exist.' }
const inContainer = 'container# ip -j -d addr show dev eth0'
const looks = { 'ip -j -d addr show dev hd0': hd0, [inContainer]: none }
const record = '/run/podwire/host-device/net/dd6ccc806f763e1c'

const call = (verb: Row['verb'], config: object, more: Partial<Row> = {}) =>
  show({ plugin: 'host-device', verb, config, answers: looks, ...more })

const movedIn = [
  `# note host-device of net/c1 in ${record}`,
  'ip link set dev hd0 alias hd0',
  `ip link set dev hd0 netns /proc/self/ns/net name ${passing}`,
  `container# ip link set dev ${passing} name eth0`,
  'container# ip link set dev eth0 up',
  '',
].join('\n')

describe('ADD', () => {
  test('moves the device under a name of its own, and only then renames it', async () => {
    const { plan, json } = await call('ADD', { device: 'hd0' })
    expect(plan).toBe(movedIn)
    expect(json).toEqual({
      cniVersion: '1.1.0',
      interfaces: [{ name: 'eth0', mac, sandbox: '/proc/self/ns/net' }],
    })
  })

  test('gives it addresses of an IPAM plugin, announced', async () => {
    const ipam = { type: 'true' }
    const { plan, json } = await call('ADD', { device: 'hd0', ipam }, { env: { CNI_PATH: '/bin' } })
    expect(plan.split('\n')).toEqual(
      expect.arrayContaining([
        'container# sysctl -w net/ipv6/conf/eth0/accept_ra=0',
        'container# sysctl -w net/ipv4/conf/eth0/arp_notify=1',
        'container# ip addr add 192.0.2.2/24 brd + dev eth0',
        'container# ip link set dev eth0 up',
      ]),
    )
    expect(json.ips).toEqual([{ address: '192.0.2.2/24', gateway: '192.0.2.1', interface: 0 }])
  })

  const sys = '/sys/bus/pci/devices/0000:04:00.1'
  const ways: [what: string, config: object, files: Record<string, string>][] = [
    ['hardware address', { hwaddr: '02-00-00-00-AA-01' }, {}],
    ['kernel path', { kernelpath: '/sys/devices/pci0/net0' }, { '/sys/devices/pci0/net0/net/hd0/mtu': '' }],
    ['PCI', { pciBusID: '0000:04:00.1' }, { [`${sys}/driver`]: '../e1000', [`${sys}/net/hd0/mtu`]: '' }],
    [
      'PCI, by a virtio device',
      { pciBusID: '0000:04:00.1' },
      { [`${sys}/driver`]: '../virtio-pci', [`${sys}/virtio3/net/hd0/mtu`]: '' },
    ],
    [
      'a PCI device that was allocated, before the configured one',
      { pciBusID: '0000:99:00.0', runtimeConfig: { deviceID: '0000:04:00.1' } },
      { [`${sys}/driver`]: '../ixgbevf', [`${sys}/net/hd0/mtu`]: '' },
    ],
    [
      'an auxiliary device, before the configured one',
      { pciBusID: '0000:99:00.0', runtimeConfig: { deviceID: 'mlx5_core.sf.4' } },
      { '/sys/bus/auxiliary/devices/mlx5_core.sf.4/net/hd0/mtu': '' },
    ],
    ['name, before all', { device: 'hd0', hwaddr: '02:00:00:00:00:99', kernelpath: '/sys/devices/x' }, {}],
  ]
  test.each(ways)('finds the device by %s', async (_, config, files) => {
    const answers = { ...looks, 'ip -j -d addr show': `[${link('lo').slice(1, -1)},${hd0.slice(1)}` }
    const { plan, json } = await call('ADD', config, { files, answers })
    expect(plan, JSON.stringify(json)).toBe(movedIn)
  })

  test.each(['vfio-pci', 'uio_pci_generic', 'igb_uio'])('moves nothing where %s drives it', async (driver) => {
    const files = { [`${sys}/driver`]: `../../../../bus/pci/drivers/${driver}` }
    const { plan, json } = await call('ADD', { device: 'hd0', pciBusID: '0000:04:00.1' }, { files })
    expect(plan).toBe('')
    expect(json.interfaces).toEqual([{ name: 'eth0', sandbox: '/proc/self/ns/net' }])
  })

  test('moves nothing where the configuration says so and no PCI device says otherwise', async () => {
    expect((await call('ADD', { device: 'hd0', dpdkMode: true })).plan).toBe('')
  })
})

describe('what is refused before anything is touched', () => {
  const rows: [what: string, config: object, code: number, text: string, more?: Partial<Row>][] = [
    ['no device', {}, 7, 'specify either "device", "hwaddr", "kernelpath" or "pciBusID"'],
    ['a bad hardware address', { hwaddr: 'zz' }, 7, 'hwaddr: found "zz"'],
    ['a path elsewhere', { kernelpath: '/sys/foo' }, 7, 'begins with /sys/devices/'],
    ['a path that leads out', { kernelpath: '/sys/devices/../x' }, 7, 'begins with /sys/devices/'],
    ['a PCI ID that leads out', { pciBusID: '../../x' }, 7, 'pciBusID: found "../../x"'],
    ['a device ID that leads out', { runtimeConfig: { deviceID: '..' } }, 7, 'runtimeConfig.deviceID: found ".."'],
    ['an unknown device ID', { runtimeConfig: { deviceID: 'x.sf.4' } }, 7, 'DeviceID x.sf.4 not found or unsupported'],
    [
      'a PCI device that is not there',
      { pciBusID: '0000:04:00.1' },
      100,
      'error with host device: lstat /sys/bus/pci/devices/0000:04:00.1: no such file or directory',
    ],
    [
      'a path that is not there',
      { kernelpath: '/sys/devices/none' },
      100,
      'failed to read directory /sys/devices/none/net: "open /sys/devices/none/net: no such file or directory"',
    ],
    ['a link that is not there', { device: 'none' }, 100, 'device: found "none"'],
    ['an address nobody has', { hwaddr: '02:00:00:00:00:99' }, 100, 'hwaddr: found "02:00:00:00:00:99"'],
    ['an interface that is there', { device: 'hd0' }, 103, 'has an interface eth0 already'],
    ['a version without a word for it', { device: 'hd0', cniVersion: '0.2.0' }, 7, 'no valid IP addresses'],
  ]
  test.each(rows)('%s', async (_, config, code, text) => {
    const answers = {
      ...looks,
      'ip -j -d addr show': hd0,
      'ip -j -d addr show dev none': none,
      [inContainer]: link('eth0'),
    }
    const { plan, status, json } = await call('ADD', config, { answers })
    expect({ plan, status, code: json.code }, JSON.stringify(json)).toEqual({ plan: '', status: 1, code })
    expect(`${json.msg}\n${json.details}`).toContain(text)
  })
})

describe('CHECK', () => {
  const prevResult = { interfaces: [{ name: 'eth0', mac, sandbox: '/proc/self/ns/net' }] }
  const check = (inside: string | object) =>
    call('CHECK', { device: 'hd0', prevResult }, { answers: { [inContainer]: inside } })

  test('compares the interface with what ADD said', async () => {
    expect(await check(link('eth0', { address: mac }))).toMatchObject({ status: 0, json: undefined })
    expect((await check(link('eth0', { address: '02:00:00:00:00:02' }))).json.details).toContain(`expected ${mac}`)
    expect((await check(none)).json).toMatchObject({ code: 105, details: expect.stringContaining('interface eth0') })
  })

  test('has nothing to compare of a device that a program drives', async () => {
    expect((await call('CHECK', { device: 'hd0', dpdkMode: true, prevResult })).status).toBe(0)
  })
})

describe('DEL', () => {
  const inside = (...links: string[]) => ({
    'container# ip -j -d addr show': `[${links.map((one) => one.slice(1, -1)).join(',')}]`,
  })
  const lent = link('eth0', { ifalias: 'hd0' })

  test('gives back by its alias what the official plugin moved', async () => {
    const { plan } = await call('DEL', { device: 'hd0' }, { answers: inside(link('lo'), lent) })
    expect(plan).toBe(
      [
        'container# ip link set dev eth0 down',
        `container# ip link set dev eth0 name ${passing}`,
        `container# ip link set dev ${passing} netns /proc/1/ns/net name hd0`,
        "ip link set dev hd0 alias ''",
        `# forget ${record}`,
        '',
      ].join('\n'),
    )
  })

  test('gives back what a killed ADD left on its way', async () => {
    const { plan } = await call('DEL', {}, { answers: inside(link(passing, { ifalias: 'hd0' })) })
    expect(plan).toContain(`container# ip link set dev ${passing} netns /proc/1/ns/net name hd0\n`)
    expect(plan).not.toContain('name devdd6ccc806f76\n')
  })

  test('names this process where process 1 is elsewhere', async () => {
    const files = { '/proc/1/ns/net': 'net:[2]', '/proc/self': '4711' }
    const { plan } = await call('DEL', {}, { answers: inside(lent), files })
    expect(plan).toContain('netns /proc/4711/ns/net name hd0\n')
  })

  test.each([
    ['nothing', inside(link('lo'))],
    ['an interface that carries no name', inside(link('eth0'))],
    ['an interface whose alias is no name', inside(link('eth0', { ifalias: 'uplink; rm' }))],
  ])('leaves %s alone', async (_, answers) => {
    expect(await call('DEL', {}, { answers })).toMatchObject({ plan: `# forget ${record}\n`, status: 0 })
  })

  test('touches nothing while the host has another link of the name, and says what to do', async () => {
    const { plan, json } = await call('DEL', { device: 'hd0' }, { answers: inside(lent), links: ['hd0'] })
    expect(plan).toBe('')
    expect(json).toMatchObject({ code: 103, details: expect.stringContaining('rename that link') })
  })

  test.each(['', '/run/netns/none-such'])('is content with the namespace "%s"', async (CNI_NETNS) => {
    expect((await call('DEL', { device: 'hd0' }, { env: { CNI_NETNS } })).status).toBe(0)
  })
})

test('STATUS and GC have nothing of their own to say', async ({ skip }) => {
  skip(...needsRun)
  expect(await call('STATUS', { device: 'hd0' })).toEqual({ plan: '', status: 0, json: undefined })
  expect(await call('GC', { device: 'hd0', 'cni.dev/valid-attachments': [] })).toMatchObject({ plan: '', status: 0 })
})

describe('what was lent is known by the key that named it', () => {
  const lent = { device: 'hd0', up: true, mac, permanent: mac, parent: 'pci/0000:04:00.1' }
  test.each([
    ['its name', { device: 'hd0' }, true],
    ['another name, first of all', { device: 'hd1', hwaddr: mac }, false],
    ['its address in another spelling', { hwaddr: '0200.0000.AA01' }, true],
    ['its place on the bus', { pciBusID: '0000:04:00.1' }, true],
    ['another place', { pciBusID: '0000:04:00.2' }, false],
    ['the place that the runtime names', { runtimeConfig: { deviceID: '0000:04:00.1' } }, true],
    ['its path', { kernelpath: '/sys/devices/pci0000:00/0000:04:00.1' }, true],
    ['another path', { kernelpath: '/sys/devices/pci0000:00/0000:04:00.11' }, false],
    ['nothing', {}, false],
  ] as const)('%s', (_, keys, named) => {
    expect(isNamed({ dpdkMode: false, ...keys }, lent)).toBe(named)
  })
})
