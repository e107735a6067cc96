import { described, networkConfiguration } from '../shared/values/config.schema.js'

export const schema = described(
  networkConfiguration,
  "Takes the container's loopback interface up. It has no key of its own.",
  { official: '0.6.0' },
)
